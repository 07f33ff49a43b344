"""Weights from a file, without running anything that the file holds."""

from .loading import Convert, load_checkpoint

__all__ = ["Convert", "load_checkpoint"]
