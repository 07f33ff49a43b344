"""Knowledge-distillation methods, wrappers and models for torchdistill.

Importing the package registers everything that configs can name; ``kd-plugins list`` prints the names.
"""

from ._version import __version__
from .registry import register_all

register_all()

__all__ = ["__version__"]
