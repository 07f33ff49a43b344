"""Turn exceptions inside models and losses into messages about the config."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from .._errors import explain

# Exceptions of torch, timm and torchdistill for wrong shapes, sizes and labels.
MISFITS = (AssertionError, IndexError, RuntimeError, TypeError, ValueError)


class StepError(ValueError):
    """A model or a loss failed on its inputs; the message says which and why."""


@contextmanager
def explained(place: str | Callable[[], str]) -> Iterator[None]:
    """Raise an exception of the block as :class:`StepError` whose message starts with ``place``.

    A function is called only if needed. Out-of-memory errors and exceptions that are not in ``MISFITS`` pass unchanged.
    """
    try:
        yield
    except (StepError, torch.OutOfMemoryError):
        raise
    except MISFITS as error:
        hint = "; do the labels match num_classes?" if isinstance(error, IndexError) else ""
        raise StepError(f"{place() if callable(place) else place}: {explain(error)}{hint}") from error
