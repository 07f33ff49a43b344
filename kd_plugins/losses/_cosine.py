"""Row normalisation and cosine similarity matrices."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..transforms.precision import autocast_off, full_matmul

GRADIENT_NORM_FLOOR = 0.5
"""The backward pass of :func:`unit_rows` divides by no smaller length, unless told otherwise."""

EPS = 1e-12
"""A row is divided by no smaller length."""


class _UnitRows(torch.autograd.Function):
    # Bounds the gradient of short rows, which ordinary operations would not.

    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float, floor: float) -> Tensor:
        norm = torch.linalg.vector_norm(x, dim=1, keepdim=True)
        unit = x / norm.clamp(min=eps)
        ctx.save_for_backward(unit, norm)
        ctx.floor = floor
        return unit

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        unit, norm = ctx.saved_tensors
        with autocast_off(unit):
            along = torch.linalg.vecdot(gradient, unit).unsqueeze(1)
        across = torch.addcmul(gradient, unit, along, value=-1)
        return across.div_(norm.clamp(min=ctx.floor)), None, None


def unit_rows(x: Tensor, *, eps: float = EPS, floor: float = GRADIENT_NORM_FLOOR) -> Tensor:
    r"""L2-normalise every row, with a bounded gradient.

    .. math:: u = \frac{x}{\max(\lVert x \rVert_2, \varepsilon)}, \qquad
        \frac{\partial L}{\partial x} = \frac{g - u\,(u \cdot g)}{\max(\lVert x \rVert_2, m)}

    - :math:`x`: a row, :math:`u` the same at length 1, or 0 where x is,
    - :math:`g`: gradient of the loss with respect to u,
    - :math:`m`: the floor: exact for every longer row; a shorter one keeps the direction of its gradient, where the
      formula's own grows like the inverse of the length, to 1 / eps at zero.

    Args:
        x: shape (B, C), float32 or float64.
        eps: keeps a zero row finite.
        floor: m; 0.5 (``GRADIENT_NORM_FLOOR``) suits logits.

    Returns:
        Shape (B, C). It can be differentiated once.

    Example:
        >>> import torch
        >>> unit_rows(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
        tensor([[0.6000, 0.8000],
                [0.0000, 0.0000]])
    """
    return _UnitRows.apply(x, eps, floor)


def row_cosines(a: Tensor, b: Tensor | None = None, *, floor: float = GRADIENT_NORM_FLOOR) -> Tensor:
    """Return the cosine of every row of ``a`` with every row of ``b``, with the gradient of :func:`unit_rows`.

    Args:
        a: shape (A, C), float32 or float64.
        b: shape (B, C), likewise; ``a`` itself where it is left out.
        floor: as of :func:`unit_rows`.

    Returns:
        Shape (A, B). It can be differentiated once.

    Example:
        >>> import torch
        >>> row_cosines(torch.tensor([[3.0, 4.0]]), torch.tensor([[2.0, 0.0], [0.0, 2.0]]))
        tensor([[0.6000, 0.8000]])
    """
    u = unit_rows(a, floor=floor)
    return full_matmul(u, None if b is None else unit_rows(b, floor=floor).T)
