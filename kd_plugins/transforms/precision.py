"""Arithmetic in float32 at least, whatever the models run in."""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor


def widen(x: Tensor) -> Tensor:
    """Return ``x`` in float32 if its type is narrower, else ``x`` itself.

    Example:
        >>> import torch
        >>> widen(torch.ones(1, dtype=torch.bfloat16)).dtype, widen(torch.ones(1, dtype=torch.float64)).dtype
        (torch.float32, torch.float64)
    """
    return x.float() if torch.finfo(x.dtype).bits < 32 else x


def autocast_off(x: Tensor) -> contextlib.AbstractContextManager[object]:
    """Return a context in which autocast leaves operations on the device of ``x`` alone.

    Widened tensors are not enough: autocast would narrow them again in every matrix or dot product.
    """
    kind = x.device.type
    if not torch.amp.is_autocast_available(kind):
        return contextlib.nullcontext()
    if not torch.compiler.is_compiling() and not torch.is_autocast_enabled(kind):
        return contextlib.nullcontext()  # the time of a context that does nothing can be seen in a small step
    return torch.autocast(kind, enabled=False)
