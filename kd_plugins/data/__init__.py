"""Data sets: digits without a download, readers of downloaded sets, stratified parts, and two augmented views."""

from .cub200 import CUB200
from .digits import Digits
from .fashion_mnist import FashionMNIST
from .split import Split
from .tiny_imagenet import TinyImageNet
from .two_views import TwoViews, collate_two_views

__all__ = ["CUB200", "Digits", "FashionMNIST", "Split", "TinyImageNet", "TwoViews", "collate_two_views"]
