"""Common form of a loss's temperature: a number, one learned value, or one value per sample."""

from __future__ import annotations

from torch import Tensor

from .._checks import check_positive
from .precision import widen


def temperature_column(temperature: float | Tensor, batch: int) -> float | Tensor:
    """Return a temperature in a shape that divides logits (B, C) row by row.

    Args:
        temperature: a number above 0, or a tensor with 1 or B elements (0-d, (1,), (B,) or (B, 1)).
        batch: B.

    Returns:
        The number itself; a tensor in shape (1, 1) or (B, 1), in its graph.

    Raises:
        ValueError: if a number is not above 0, or a tensor has neither 1 nor B elements.

    Example:
        >>> import torch
        >>> temperature_column(torch.tensor([2.0, 4.0]), 2).shape
        torch.Size([2, 1])
    """
    if not isinstance(temperature, Tensor):
        check_positive("temperature", temperature)
        return temperature
    if temperature.numel() not in (1, batch):
        raise ValueError(
            f"temperature must hold 1 value or one per sample ({batch}), found shape {tuple(temperature.shape)}"
        )
    return widen(temperature).reshape(-1, 1)
