"""Unit directions of a KD layer's kernels and positions, with their backward pass."""

from __future__ import annotations

import torch
from torch import Tensor

from ...transforms.map_rows import copied_rows

LENGTH_FLOOR = 1e-4
"""Shorter rows are divided by this instead of their length."""


def floored_lengths(rows: Tensor) -> Tensor:
    """Return the divisors of the rows (N, c), shape (N, 1)."""
    return torch.linalg.vector_norm(rows, dim=1, keepdim=True).clamp_(min=LENGTH_FLOOR)


def unit_rows(x: Tensor, normalize: bool) -> tuple[Tensor, Tensor | None]:
    """Return the positions of a map (B, c, H, W) as new rows; if asked to, divide them by their lengths (N, 1)."""
    rows = copied_rows(x)
    if not normalize:
        return rows, None
    lengths = floored_lengths(rows)
    return rows.div_(lengths), lengths


def dots(a: Tensor, b: Tensor) -> Tensor:
    """Return the products of the rows of two matrices, shape (N, 1), without a matrix in between."""
    return torch.bmm(a.unsqueeze(1), b.unsqueeze(2)).squeeze(2)


def lost_along(products: Tensor, lengths: Tensor) -> Tensor:
    """Keep, in place, the products (N, 1) of a gradient's rows with unit rows where the division took them away."""
    return products.mul_(lengths > LENGTH_FLOOR)


def through_lengths(gradient: Tensor, unit: Tensor, lengths: Tensor) -> Tensor:
    """Turn, in place, the gradient of rows divided by ``lengths`` into that of the rows."""
    return gradient.addcmul_(unit, lost_along(dots(gradient, unit), lengths), value=-1).div_(lengths)


def directions(kernel: Tensor, scale: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    """Return the rows of a kernel divided by their lengths, times a scale (1,), and what their gradient needs."""
    lengths = floored_lengths(kernel)
    unit = kernel / lengths
    return unit * scale, (unit, lengths, scale)


def of_directions(gradient: Tensor, unit: Tensor, lengths: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients of kernel and scale, from that of the directions, which is overwritten."""
    along = (gradient * unit).sum(1, keepdim=True)
    of_scale = along.sum(0)
    return gradient.addcmul_(unit, lost_along(along, lengths), value=-1).mul_(scale / lengths), of_scale
