"""Sizes, mean and standard deviation of the images at hand. Works without torch, except for torchvision's data sets."""

from __future__ import annotations

import os
import random
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from PIL import Image, ImageStat

MOST, SEED = 2000, 0
"""At most this many images are read, drawn by this seed."""
LARGEST = 224
"""Larger images are shrunk to this height and width before they are measured, as models see them."""

Stats = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation of each channel."""

UNREADABLE = (OSError, SyntaxError, ValueError)
"""Errors of Pillow on damaged files."""


def drawn(count: int) -> list[int]:
    """Return the numbers of the images to read, in order."""
    return sorted(random.Random(SEED).sample(range(count), min(count, MOST)))


def short_side(paths: Sequence[str]) -> int | None:
    """Return the median of the shorter sides of image files, in pixels; None if none can be read."""
    sides = []
    for number in drawn(len(paths)):
        try:
            with Image.open(paths[number]) as image:
                sides.append(min(image.size))
        except UNREADABLE:  # noqa: PERF203 - a damaged file is skipped; check names it
            continue
    return round(statistics.median(sides)) if sides else None


def file_stats(paths: Sequence[str]) -> tuple[Stats, int] | None:
    """Return mean and standard deviation over image files, and how many were read; None if none can be read."""
    return pixel_stats(_opened(paths[number] for number in drawn(len(paths))))


def torchvision_stats(name: str, root: str, files: str, kwargs: Mapping[str, Any]) -> tuple[Stats, int] | None:
    """Return mean and standard deviation over a set of torchvision; None if its ``files`` below ``root`` are not there.

    ``name`` is that of its class, and ``kwargs`` are those of its training images.
    """
    if not os.path.exists(os.path.join(root, files)):
        return None  # some classes would make a folder
    import torchvision

    try:
        data = getattr(torchvision.datasets, name)(root, **kwargs)
        return pixel_stats(data[number][0].convert("RGB") for number in drawn(len(data)))
    except (*UNREADABLE, RuntimeError, ImportError):
        return None


def pixel_stats(images: Iterable[Image.Image]) -> tuple[Stats, int] | None:
    """Return mean and standard deviation of each channel of RGB images, scaled to 0..1, and the number of images.

    Example:
        >>> pixel_stats([Image.new("RGB", (1, 1), (0, 51, 255)), Image.new("RGB", (1, 1), (255, 51, 255))])
        (((0.5, 0.2, 1.0), (0.5, 0.0, 0.0)), 2)
    """
    count, number, sums, squares = 0.0, 0, [0.0] * 3, [0.0] * 3
    for image in images:
        number += 1
        shrunk = image if min(image.size) <= LARGEST else image.resize((LARGEST, LARGEST), reducing_gap=2.0)
        found = ImageStat.Stat(shrunk)
        count += found.count[0]
        sums = [total + own for total, own in zip(sums, found.sum, strict=True)]
        squares = [total + own for total, own in zip(squares, found.sum2, strict=True)]
    if not number:
        return None
    means = [total / count for total in sums]
    deviations = [max(total / count - mean**2, 0.0) ** 0.5 for total, mean in zip(squares, means, strict=True)]
    mean, std = (tuple(round(value / 255, 4) for value in values) for values in (means, deviations))
    return (mean, std), number


def _opened(paths: Iterable[str]) -> Iterator[Image.Image]:
    for path in paths:
        try:
            with Image.open(path) as image:
                if image.mode[0] in "IF":  # more than 8 bits a channel
                    from ...data.images import read_image

                    yield read_image(path)
                    continue
                image.draft("RGB", (LARGEST, LARGEST))
                yield image.convert("RGB")
        except UNREADABLE:
            continue
