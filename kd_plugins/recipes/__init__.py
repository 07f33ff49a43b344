"""Configs with the settings of the papers' tables, and the results that the papers report. Works without torch."""

from .recipe import recipe
from .request import Request
from .tables import Reported, reported

__all__ = ["Reported", "Request", "recipe", "reported"]
