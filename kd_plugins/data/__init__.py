"""Data sets: digits without a download, readers of downloaded and synthetic images, stratified parts, two views."""

from .digits import Digits
from .downloads import CUB200, FashionMNIST, TinyImageNet
from .split import Split
from .synthetic_images import SyntheticImages
from .two_views import TwoViews, collate_two_views

__all__ = [
    "CUB200",
    "Digits",
    "FashionMNIST",
    "Split",
    "SyntheticImages",
    "TinyImageNet",
    "TwoViews",
    "collate_two_views",
]
