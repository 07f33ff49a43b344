"""Handwritten digits on coloured canvases, with exact boxes: a detection set without a download."""

from __future__ import annotations

import numpy as np
from PIL import Image

from ..._checks import check_whole
from ..digits import load_split
from ..listed_images import check_flag
from .box_images import BoxImages, Target, Transforms, target_of

IMAGES = {True: 400, False: 80}
"""Default number of images of the training and the test split."""

SMALLEST = 16
INK = 0.25
"""Least brightness of a pixel that counts as part of a digit."""

TRIES = 20
BACKGROUND, SLOPE, NOISE, BRIGHTNESS = 0.45, 0.12, 0.03, 0.6
"""Largest background colour, largest slope of its gradient, noise, and least colour of a digit."""


class CanvasDigits(BoxImages):
    """Images with one to four real handwritten digits at random places, sizes and colours.

    The digits are scikit-learn's (see :class:`~kd_plugins.data.Digits`), those of the same split, so no test digit is
    seen in training. They do not overlap. An image depends only on seed, split and its number, so a larger set begins
    with the images of a smaller one.

    Args:
        train: True for the training split.
        size: height and width of the images.
        images: number of images; 400 for training and 80 for the test by default.
        seed: chooses digits, places and colours.
        transforms: called on image and target.

    Attributes:
        classes: names of the ten classes; label 1 is the digit 0.
        data: images as uint8, shape (N, size, size, 3).

    Raises:
        ValueError: if ``train`` is not a bool, or a number is too small.

    Example:
        >>> image, target = CanvasDigits(train=False, images=1)[0]
        >>> image.shape, target["boxes"].shape, target["labels"]
        (torch.Size([3, 64, 64]), torch.Size([1, 4]), tensor([7]))
    """

    def __init__(
        self,
        *,
        train: bool = True,
        size: int = 64,
        images: int | None = None,
        seed: int = 0,
        transforms: Transforms | None = None,
    ) -> None:
        check_flag("train", train)
        check_whole("size", size, SMALLEST)
        check_whole("seed", seed, 0)
        count = IMAGES[train] if images is None else images
        check_whole("images", count, 1)
        self.train, self.size, self.seed, self.transforms = train, size, seed, transforms
        self.classes = [str(digit) for digit in range(10)]
        digits, labels = load_split(train)
        built = [self._canvas(index, digits, labels) for index in range(count)]
        self.data = np.stack([canvas for canvas, _ in built])
        self.targets = [target for _, target in built]

    def __len__(self) -> int:
        return len(self.data)

    def _pixels(self, index: int) -> np.ndarray:
        return self.data[index]

    def _target(self, index: int, height: int, width: int) -> Target:
        # A copy: COCO's usual evaluation changes the boxes of its targets in place.
        return {name: value.clone() for name, value in self.targets[index].items()}

    def _canvas(self, index: int, digits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, Target]:
        random, size = np.random.default_rng([self.seed, int(self.train), index]), self.size
        slope = np.linspace(-1, 1, size)[:, None, None] * random.uniform(-SLOPE, SLOPE)
        canvas = random.uniform(0, BACKGROUND, 3) + slope + random.normal(0, NOISE, (size, size, 3))
        taken = np.zeros((size, size), dtype=bool)
        boxes, found = [], []
        for _ in range(random.integers(1, 5)):
            number = random.integers(len(digits))
            ink = _enlarged(digits[number], int(random.integers(size // 5, 2 * size // 5 + 1)))
            colour = random.uniform(BRIGHTNESS, 1, 3)
            height, width = ink.shape
            for _ in range(TRIES):
                y, x = random.integers(size - height + 1), random.integers(size - width + 1)
                place = np.s_[y : y + height, x : x + width]
                if not taken[place].any():
                    taken[place] = True
                    canvas[place] += ink[:, :, None] * (colour - canvas[place])
                    boxes.append([x, y, x + width, y + height])
                    found.append(labels[number] + 1)
                    break
        return np.round(255 * canvas.clip(0, 1)).astype(np.uint8), target_of(boxes, found, image_id=index)


def _enlarged(digit: np.ndarray, side: int) -> np.ndarray:
    """Return an 8x8 digit as ink in 0..1, enlarged to side x side and cropped to what can be seen of it."""
    scaled = Image.fromarray(np.round(digit * (255 / 16)).astype(np.uint8))
    ink = np.asarray(scaled.resize((side, side), Image.Resampling.BICUBIC)) / 255
    rows, columns = (np.flatnonzero((ink > INK).any(axis=axis)) for axis in (1, 0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
