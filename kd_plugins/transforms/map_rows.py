"""Conversion between maps (B, c, H, W) and rows, one per position."""

from __future__ import annotations

import torch
from torch import Tensor


def map_rows(x: Tensor) -> Tensor:
    """Return a map (B, c, H, W) as rows (B * H * W, c), or rows as they are."""
    return x if x.ndim == 2 else x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def rows_map(rows: Tensor, size: torch.Size) -> Tensor:
    """View rows (B * H * W, k) as a map (B, k, H, W), for the shape of another map; for that of rows, as they are."""
    if len(size) == 2:
        return rows
    batch, _, height, width = size
    return rows.view(batch, height, width, -1).permute(0, 3, 1, 2)


def copied_rows(x: Tensor) -> Tensor:
    """Return :func:`map_rows` in memory of their own, which may be overwritten."""
    if x.ndim == 2:
        return x.clone()
    return x.permute(0, 2, 3, 1).clone(memory_format=torch.contiguous_format).view(-1, x.shape[1])
