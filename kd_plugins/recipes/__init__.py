"""The papers' tables as commands: what they trained with, and configs that do it. Nothing here imports torch."""

from .recipe import recipe
from .request import Request
from .tables import Reported, reported

__all__ = ["Reported", "Request", "recipe", "reported"]
