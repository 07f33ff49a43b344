"""The demo: what distillation gains on real images, in a few minutes on a CPU."""

from .runs import run_demo

__all__ = ["run_demo"]
