"""Search of settings on the validation images, with one test of the pick."""

from .run import run_sweep

__all__ = ["run_sweep"]
