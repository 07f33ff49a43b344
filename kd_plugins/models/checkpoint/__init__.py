"""Checkpoint loading that never runs code from the file."""

from .loading import Convert, load_checkpoint

__all__ = ["Convert", "load_checkpoint"]
