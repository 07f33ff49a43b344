"""The demos: what distillation gains on real images, on a CPU."""

from .benchmark import run_benchmark
from .runs import run_demo

__all__ = ["run_benchmark", "run_demo"]
