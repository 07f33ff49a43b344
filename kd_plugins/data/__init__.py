"""Data sets that come with the package's dependencies, so that they need no download, and views of any data set."""

from .digits import Digits
from .two_views import TwoViews, collate_two_views

__all__ = ["Digits", "TwoViews", "collate_two_views"]
