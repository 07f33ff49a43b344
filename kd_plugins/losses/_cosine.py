"""Row normalisation and cosine similarity matrices."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..transforms.precision import autocast_off, full_matmul

GRADIENT_NORM_FLOOR = 0.5
"""Smallest length that the backward pass of :func:`unit_rows` divides by, by default."""

EPS = 1e-12
"""Smallest length that a row is divided by."""


class _UnitRows(torch.autograd.Function):
    # Ordinary operations would not bound the gradient of short rows.

    @staticmethod
    def forward(ctx: Any, x: Tensor, floor: float) -> Tensor:
        norm = torch.linalg.vector_norm(x, dim=1, keepdim=True)
        unit = x / norm.clamp(min=EPS)
        ctx.save_for_backward(unit, norm)
        ctx.floor = floor
        return unit

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        unit, norm = ctx.saved_tensors
        with autocast_off(unit):
            along = torch.linalg.vecdot(gradient, unit).unsqueeze(1)
        across = torch.addcmul(gradient, unit, along, value=-1)
        return across.div_(norm.clamp(min=ctx.floor)), None


def unit_rows(x: Tensor, *, floor: float = GRADIENT_NORM_FLOOR) -> Tensor:
    r"""L2-normalise every row, with a bounded gradient.

    .. math:: u = \frac{x}{\max(\lVert x \rVert_2, \varepsilon)}, \qquad
        \frac{\partial L}{\partial x} = \frac{g - u\,(u \cdot g)}{\max(\lVert x \rVert_2, m)}

    - :math:`x, u`: a row, and the same at length 1, or 0 if x is,
    - :math:`g`: gradient of the loss with respect to u,
    - :math:`m`: the floor. Longer rows have the exact gradient; a shorter row's keeps its direction, but not the factor
      1 / length, which would grow to 1 / eps.

    The shape is (B, C), the type float32 or float64; the default of m suits logits. It can be differentiated once.

    Example:
        >>> unit_rows(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
        tensor([[0.6000, 0.8000],
                [0.0000, 0.0000]])
    """
    return _UnitRows.apply(x, floor)


def row_cosines(a: Tensor, b: Tensor | None = None, *, floor: float = GRADIENT_NORM_FLOOR) -> Tensor:
    """Return the cosines (A, B) of the rows (A, C) of ``a`` with those (B, C) of ``b``, by default ``a`` itself.

    The gradient is that of :func:`unit_rows`.
    """
    u = unit_rows(a, floor=floor)
    return full_matmul(u, None if b is None else unit_rows(b, floor=floor).T)
