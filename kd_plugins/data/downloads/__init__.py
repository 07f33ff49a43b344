"""Readers of downloaded data sets."""

from .cub200 import CUB200
from .fashion_mnist import FashionMNIST
from .tiny_imagenet import TinyImageNet

__all__ = ["CUB200", "FashionMNIST", "TinyImageNet"]
