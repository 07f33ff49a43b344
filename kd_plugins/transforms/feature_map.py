"""Conversion of features of any backbone to maps (B, c, H, W), and resizing of two maps to one size."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

from .._checks import check_choice

LAYOUTS = {"NCHW": 4, "NHWC": 4, "NLC": 3, "NC": 2}
"""Layout -> number of dimensions."""


def to_feature_map(x: Tensor, *, layout: str, prefix_tokens: int = 0, grid: tuple[int, int] | None = None) -> Tensor:
    r"""View a feature of a declared layout as a map (B, c, H, W).

    .. math:: F_{b, k, h, w} = x_{b,\; P + h W + w,\; k} \qquad \text{(tokens, row by row)}

    Args:
        x: the feature: ``NCHW`` (B, c, H, W), ``NHWC`` (B, H, W, c), ``NLC`` (B, P + H * W, c), or ``NC``, a pooled
            vector (B, c) that becomes a 1x1 map.
        layout: one of the four, never guessed.
        prefix_tokens: P, the number of class and other tokens before the patches, ``NLC`` only.
        grid: (H, W) of the patches, ``NLC`` only; optional if they form a square.

    Returns:
        Shape (B, c, H, W), a view of ``x``.

    Raises:
        ValueError: on an unknown layout, a shape that does not fit it, or patches that do not fill the grid.

    Example:
        >>> import torch
        >>> to_feature_map(torch.zeros(2, 1 + 49, 384), layout="NLC", prefix_tokens=1).shape
        torch.Size([2, 384, 7, 7])
    """
    check_choice("layout", layout, LAYOUTS)
    if x.ndim != LAYOUTS[layout]:
        raise ValueError(
            f"layout {layout!r} needs {LAYOUTS[layout]} dimensions, found shape {tuple(x.shape)}; "
            f"layouts: {', '.join(f'{name} ({ndim})' for name, ndim in LAYOUTS.items())}"
        )
    if layout == "NLC":
        return _tokens_to_map(x, prefix_tokens, grid)
    if prefix_tokens:
        raise ValueError(
            f"prefix_tokens is for layout 'NLC', found {prefix_tokens} with {layout!r}, which has no tokens"
        )
    if grid is not None:
        raise ValueError(f"grid is for layout 'NLC', found {tuple(grid)} with {layout!r}, whose shape has H and W")
    if layout == "NHWC":
        return x.permute(0, 3, 1, 2)
    return x[:, :, None, None] if layout == "NC" else x


def match_size(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Average-pool two maps to one spatial size, in each dimension the smaller of the two.

    Args:
        a: shape (B, c, H, W).
        b: shape (B, c', H', W').

    Returns:
        Both at (min(H, H'), min(W, W')); a map of this size is returned as it is.

    Raises:
        ValueError: unless both are maps of one batch.

    Example:
        >>> import torch
        >>> student, teacher = match_size(torch.zeros(2, 16, 8, 8), torch.zeros(2, 64, 4, 4))
        >>> student.shape, teacher.shape
        (torch.Size([2, 16, 4, 4]), torch.Size([2, 64, 4, 4]))
    """
    for x in (a, b):
        if x.ndim != 4:
            raise ValueError(
                f"feature maps must have shape (B, c, H, W), found {tuple(x.shape)}; declare the layout of "
                f"another feature: one of {', '.join(LAYOUTS)}"
            )
    if a.shape[0] != b.shape[0]:
        raise ValueError(
            f"both feature maps must have the same batch size, found {a.shape[0]} and {b.shape[0]} samples"
        )
    size = (min(a.shape[2], b.shape[2]), min(a.shape[3], b.shape[3]))
    return average_pool(a, size), average_pool(b, size)


def average_pool(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Average-pool a map (B, c, H, W) to a height and width; ``x`` itself if it has this size."""
    height, width = x.shape[2:]
    if (height, width) == size:
        return x
    (down, below), (right, beside) = divmod(height, size[0]), divmod(width, size[1])
    if min(down, right) >= 1 and max(below, beside) <= 1:
        # Windows of one size at equal distances, which overlap by 1 at a remainder of 1, have a faster kernel.
        return F.avg_pool2d(x, (down + below, right + beside), stride=(down, right))
    return F.adaptive_avg_pool2d(x, size)


def _tokens_to_map(x: Tensor, prefix_tokens: int, grid: tuple[int, int] | None) -> Tensor:
    patches = x.shape[1] - prefix_tokens
    if prefix_tokens < 0 or patches < 1:
        raise ValueError(
            f"prefix_tokens must be at least 0 and below the number of tokens, {x.shape[1]}, found {prefix_tokens}"
        )
    if grid is None:
        side = math.isqrt(patches)
        if side * side != patches:
            raise ValueError(
                f"{patches} patches do not form a square: set grid=(H, W), or correct prefix_tokens "
                f"(now {prefix_tokens})"
            )
        grid = (side, side)
    if grid[0] * grid[1] != patches:
        raise ValueError(
            f"grid {tuple(grid)} holds {grid[0] * grid[1]} patches, found {patches} "
            f"({x.shape[1]} tokens, {prefix_tokens} of them prefix_tokens)"
        )
    return x[:, prefix_tokens:].transpose(1, 2).unflatten(2, tuple(grid))
