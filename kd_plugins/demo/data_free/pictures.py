"""A picture of the images that the students see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ...analysis.drawing import bare, new_figure, write_png
from ...data import Digits, SyntheticImages
from .configs import SIZE

SHOWN = 10


def save_images(folders: Mapping[str, Path], path: Path, *, teacher: float) -> None:
    """Write a picture with a row of ten images, one of each digit, per folder, and a row of real ones."""
    rows = {title: _first_of_each(SyntheticImages(folder)) for title, folder in folders.items()}
    digits = Digits(train=True)
    real = _first_of_each(digits)
    step = real.shape[1] // SIZE
    rows["real"] = real.reshape(SHOWN, SIZE, step, SIZE, step, 3).mean((2, 4)).astype(np.uint8)
    figure = new_figure(8.0, 0.8 * len(rows) + 0.7)
    grid = figure.subplots(len(rows), SHOWN, squeeze=False)
    for line, (title, images) in zip(grid, rows.items(), strict=True):
        for digit, axes in enumerate(line):
            bare(axes)
            axes.imshow(images[digit])
        line[0].set_ylabel(title, rotation=0, ha="right", va="center", fontsize=9)
    for digit, axes in enumerate(grid[0]):
        axes.set_title(digits.classes[digit], fontsize=9)
    figure.suptitle(f"Images of {SIZE}x{SIZE} from a ResNet-20 that has {teacher:.1f} % on digits", fontsize=11)
    figure.supxlabel("requested digit (of real images: the label)", fontsize=9)
    write_png(figure, path)


def _first_of_each(data: Digits | SyntheticImages) -> np.ndarray:
    """Return the first image of each digit, uint8, shape (10, H, W, 3)."""
    targets: Sequence[int] = data.targets
    return np.stack([data.data[targets.index(digit)] for digit in range(SHOWN)])
