"""A picture of synthetic images."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import load_file

from ..runtime.checkpoint import write_atomically

SIDE = 10
GAP = 2
WIDTH = 800
"""Approximate width of the picture in pixels."""


def save_preview(shard: Path, path: Path) -> None:
    """Write a grid of the first 100 images of a shard as PNG, enlarged by a whole number."""
    images = load_file(shard)["images"][: SIDE * SIDE]
    write_atomically(path, partial(Image.fromarray(image_grid(images)).save, format="PNG"))


def image_grid(images: np.ndarray) -> np.ndarray:
    """Return a white picture with images (n, H, W, 3) in rows of ten.

    Example:
        >>> image_grid(np.zeros((12, 32, 32, 3), np.uint8)).shape
        (134, 662, 3)
    """
    count, height, width, channels = images.shape
    factor = max(1, WIDTH // (SIDE * width))
    images = images.repeat(factor, axis=1).repeat(factor, axis=2)
    height, width = height * factor + GAP, width * factor + GAP
    grid = np.full((-(-count // SIDE) * height + GAP, SIDE * width + GAP, channels), 255, np.uint8)
    for number, image in enumerate(images):
        top, left = number // SIDE * height + GAP, number % SIDE * width + GAP
        grid[top : top + height - GAP, left : left + width - GAP] = image
    return grid
