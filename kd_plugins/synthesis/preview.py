"""A picture of synthetic images."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor
from torchvision.utils import make_grid, save_image

from ..runtime.checkpoint import write_atomically

SIDE = 10
WIDTH = 800
"""Approximate width of the picture in pixels."""


def save_preview(shard: Path, path: Path) -> None:
    """Write a grid of the first 100 images of a shard as PNG."""
    picture = image_grid(load_file(shard)["images"][: SIDE * SIDE])
    write_atomically(path, partial(save_image, picture, format="png"))


def image_grid(images: Tensor) -> Tensor:
    """Return a white picture with uint8 images (n, H, W, 3) in rows of ten, enlarged by a whole number.

    Example:
        >>> import torch
        >>> image_grid(torch.zeros(12, 32, 32, 3, dtype=torch.uint8)).shape
        torch.Size([3, 134, 662])
    """
    factor = max(1, WIDTH // (SIDE * images.shape[2]))
    large = images.repeat_interleave(factor, 1).repeat_interleave(factor, 2).permute(0, 3, 1, 2)
    return make_grid(large / 255, nrow=SIDE, padding=2, pad_value=1.0)
