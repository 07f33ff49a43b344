"""Data sets: digits without a download, readers of downloaded sets, and two augmented views."""

from .cub200 import CUB200
from .digits import Digits
from .tiny_imagenet import TinyImageNet
from .two_views import TwoViews, collate_two_views

__all__ = ["CUB200", "Digits", "TinyImageNet", "TwoViews", "collate_two_views"]
