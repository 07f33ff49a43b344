"""Handwritten digits from scikit-learn, a real data set without a download."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from .listed_images import LabelledImages, check_flag

IMAGE_SIZE = 32
TEST_SHARE = 0.2
SPLIT_SEED = 0

MEAN = (0.3094, 0.3094, 0.3094)
"""Mean of each channel over all pixels of the 32x32 training images, scaled to 0..1."""

STD = (0.3488, 0.3488, 0.3488)
"""Standard deviation of each channel over the same pixels, with the number of pixels as divisor."""


class Digits(LabelledImages):
    """The 1,797 digits of scikit-learn as a torchvision-style data set of 32x32 RGB images.

    The 8x8 originals have values from 0 to 16. They are scaled to 0..255, enlarged with bicubic interpolation and
    repeated over three channels, so they fit networks for CIFAR. Four fifths are training images. The split is
    stratified by class and fixed, independent of the global random state.

    Args:
        train: True for the 1,437 training images, False for the 360 others.
        transform: called on the PIL image.
        target_transform: called on the label.

    Attributes:
        classes: the names of the ten classes, by label.
        class_to_idx: label of each class name.
        data: images as uint8, shape (N, 32, 32, 3).
        targets: N labels.

    Raises:
        ValueError: if ``train`` is neither True nor False.

    References:
        Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998.

    Example:
        >>> digits = Digits(train=False)
        >>> len(digits)
        360
        >>> image, label = digits[0]
        >>> image.size, image.mode, digits.classes[label]
        ((32, 32), 'RGB', '1')
    """

    def __init__(
        self,
        *,
        train: bool = True,
        transform: Callable[[Image.Image], Any] | None = None,
        target_transform: Callable[[int], Any] | None = None,
    ) -> None:
        check_flag("train", train)
        super().__init__(transform=transform, target_transform=target_transform)
        self.train = train
        images, labels = _enlarged(train)
        self.data = images.copy()
        self._set_labels([int(label) for label in labels], [str(digit) for digit in range(10)])

    def _image(self, index: int) -> Image.Image:
        return Image.fromarray(self.data[index])


@cache  # a config names the images several times, and enlarging them takes most of the time to build it
def _enlarged(train: bool) -> tuple[np.ndarray, np.ndarray]:
    images, labels = load_split(train)
    return np.stack([_enlarge(image) for image in images]), labels


@cache
def load_split(train: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the 8x8 originals of a split, with values from 0 to 16, and their labels."""
    # Imported here because importing scikit-learn takes a second.
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits().images, load_digits().target
    halves = train_test_split(np.arange(len(labels)), test_size=TEST_SHARE, random_state=SPLIT_SEED, stratify=labels)
    chosen = np.sort(halves[0] if train else halves[1])
    return images[chosen], labels[chosen]


def _enlarge(image: np.ndarray) -> np.ndarray:
    scaled = np.round(image * (255 / 16)).astype(np.uint8)
    enlarged = Image.fromarray(scaled).resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC)
    return np.repeat(np.asarray(enlarged)[:, :, None], 3, axis=2)
