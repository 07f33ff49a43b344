"""Image reader whose errors name the file."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError
from torchvision import get_image_backend
from torchvision.datasets import DatasetFolder
from torchvision.datasets.folder import default_loader, pil_loader

from .._stray import deletes_stray_files, is_stray_file
from .inside import base_datasets
from .loading import DataError

BEGINNING = 16
"""Number of bytes that a message shows of a file that is not an image."""


class DamagedImageError(DataError):
    """Error for an image file that cannot be read."""


def read_image(path: str | Path) -> Image.Image:
    """Return an image file in RGB.

    It differs from torchvision's ``pil_loader`` for grey images with more than 8 bits, which Pillow would clip to
    white. 16-bit images are scaled to 8 bits, as Pillow does with 16-bit colour. 32-bit images (integers or floats)
    have no fixed range, so their values must be in 0..255.

    Raises:
        DamagedImageError: on a damaged, empty or missing file, or one that is not an image.

    Example:
        >>> read_image("nowhere.png")
        Traceback (most recent call last):
        kd_plugins.data.images.DamagedImageError: image nowhere.png cannot be read: No such file or directory
    """
    try:
        with Image.open(path) as image:
            return _eight_bits(image).convert("RGB")
    except Exception as error:  # On damaged files Pillow raises OSError, SyntaxError, struct.error, ...
        raise DamagedImageError(_message(str(path), error)) from error


def use_our_reader(datasets: Iterable[Any]) -> None:
    """Make image folders, also inside subsets and wrappers, read with :func:`read_image`, in place.

    A folder with another loader than torchvision's default keeps it.
    """
    for base in (base for dataset in datasets for base in base_datasets(dataset)):
        # default_loader may use another library, depending on torchvision's image backend.
        plain = (default_loader, pil_loader) if get_image_backend() == "PIL" else (pil_loader,)
        if isinstance(base, DatasetFolder) and base.loader in plain:
            base.loader = read_image


def _eight_bits(image: Image.Image) -> Image.Image:
    # Pillow below 11 opens a 16-bit PNG in mode I; a PGM with more than 8 bits is scaled to 16 and is in mode I still.
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        low, high = np.asarray(image).min(), np.asarray(image).max()
        if not (low >= 0 and high <= 255) or (image.mode == "F" and 0 < high <= 1):
            raise ValueError(
                f"pixels of 32 bits must lie in 0..255, found {low:g}..{high:g}; save the images with 8 or 16 bits"
            )
    return image


def _message(path: str, error: Exception) -> str:
    if is_stray_file(path):
        return f"{path} is a macOS file, not an image; delete all such: {deletes_stray_files(os.path.dirname(path))}"
    if isinstance(error, OSError) and error.strerror:
        return f"image {path} cannot be read: {error.strerror}"
    reason = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, UnidentifiedImageError):
        start = Path(path).read_bytes()[:BEGINNING]
        reason = f"it begins with {start!r}, unlike any image format" if start else "it is empty"
    elif isinstance(error, ValueError):
        return f"image {path} cannot be read: {reason}"
    return f"image {path} is damaged: {reason}; replace the file, or delete it"
