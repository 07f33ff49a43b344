"""Failures inside models and losses as messages about the config that caused them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from .._errors import explain

# What torch, timm and torchdistill raise for shapes, sizes and labels that do not fit.
MISFITS = (AssertionError, IndexError, RuntimeError, TypeError, ValueError)


class StepError(ValueError):
    """A model or a loss cannot work on what the config gives it; the message says which and why."""


@contextmanager
def explained(place: str | Callable[[], str]) -> Iterator[None]:
    """Turn a misfit that the block raises into one message that begins with its place.

    An exhausted memory and what is no error of fit pass through as they are.

    Args:
        place: what the block works on; a function is asked when something is raised.
    """
    try:
        yield
    except (StepError, torch.OutOfMemoryError):
        raise
    except MISFITS as error:
        hint = "; do the labels fit num_classes?" if isinstance(error, IndexError) else ""
        raise StepError(f"{place() if callable(place) else place}: {explain(error)}{hint}") from error
