"""Data sets that come with the package's dependencies, so that they need no download."""

from .digits import Digits

__all__ = ["Digits"]
