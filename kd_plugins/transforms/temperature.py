"""Common form of a loss's temperature: a number, one learned value, or one value per sample."""

from __future__ import annotations

from torch import Tensor

from .._checks import check_positive
from .precision import widen


def temperature_column(temperature: float | Tensor, batch: int) -> float | Tensor:
    """Return a temperature in a shape that divides logits (B, C) row by row: a number as it is, a tensor as a column.

    A number must be above 0. A tensor must have 1 or B elements; it becomes (1, 1) or (B, 1), in its graph.
    """
    if not isinstance(temperature, Tensor):
        check_positive("temperature", temperature)
        return temperature
    if temperature.numel() not in (1, batch):
        raise ValueError(
            f"temperature must hold 1 value or one per sample ({batch}), found shape {tuple(temperature.shape)}"
        )
    return widen(temperature).reshape(-1, 1)
