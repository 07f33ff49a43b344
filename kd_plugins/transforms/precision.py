"""Promotion to float32 or higher, independent of the models' dtype."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor


def widen(x: Tensor) -> Tensor:
    """Return ``x`` in float32 if its type is narrower, else ``x`` itself."""
    return x.float() if torch.finfo(x.dtype).bits < 32 else x


def autocast_off(x: Tensor) -> contextlib.AbstractContextManager[object]:
    """Return a context that disables autocast on the device of ``x``.

    Widened tensors are not enough: autocast would narrow them again in every matrix or dot product.
    """
    kind = x.device.type
    if not torch.amp.is_autocast_available(kind):
        return contextlib.nullcontext()
    if not torch.compiler.is_compiling() and not torch.is_autocast_enabled(kind):
        return contextlib.nullcontext()  # entering an idle autocast context is measurable in a small step
    return torch.autocast(kind, enabled=False)


class _FullMatmul(torch.autograd.Function):
    # torch.compile traces the backward pass of a plain product in the caller's autocast state, which narrows it.
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor | None) -> Tensor:
        ctx.save_for_backward(a, b)
        return a @ (a.mT if b is None else b)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        a, b = ctx.saved_tensors
        with autocast_off(gradient):
            if b is None:
                # One product: with two, similarity_loss took 3.1 times as long on maps (64, 64, 32, 32), CPU.
                return (gradient + gradient.mT) @ a, None
            of_a = gradient @ b.mT if ctx.needs_input_grad[0] else None
            of_b = a.mT @ gradient if ctx.needs_input_grad[1] else None
        return of_a, of_b


def full_matmul(a: Tensor, b: Tensor | None = None) -> Tensor:
    """Return ``a @ b`` with autocast off in both passes, also under ``torch.compile``.

    The shapes are (n, k) and (k, m), or (B, n, k) and (B, k, m); ``b`` is ``a.mT`` by default.
    """
    with autocast_off(a):
        return _FullMatmul.apply(a, b)
