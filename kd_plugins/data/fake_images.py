"""Noise images with the shape and labels of a real data set, for runs without a download."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from .._checks import check_at_least, check_choice
from .listed_images import LabelledImages

SEED = 0
BUFFER = 4 * 2**20
"""Approximate size in bytes of the noise buffer. Images are windows of it, so memory stays constant."""

CHANNELS = {"RGB": 3, "L": 1}


class FakeImages(LabelledImages):
    """Images of noise, as 8-bit PIL images, with labels over all classes.

    The same arguments always give the same images and labels, independent of the global random state.

    Args:
        length: number of images.
        height: image height in pixels.
        width: image width in pixels.
        num_classes: number of classes; their sizes differ by at most one image.
        mode: ``"RGB"`` or ``"L"`` (grey).
        real_length: whether the real data set has the same length; False if its length is unknown.
        transform: called on the PIL image.
        target_transform: called on the label.
        transforms: called on image and label, instead of the two above.

    Attributes:
        classes: a name for every class, by label.
        class_to_idx: label of each class name.
        targets: the labels.

    Raises:
        ValueError: on a number below 1, or another mode.

    Example:
        >>> images = FakeImages(length=50_000, height=32, width=32, num_classes=100)
        >>> image, label = images[49_999]
        >>> image.size, image.mode, 0 <= label < 100, len(set(images.targets))
        ((32, 32), 'RGB', True, 100)
    """

    def __init__(
        self,
        *,
        length: int,
        height: int,
        width: int,
        num_classes: int,
        mode: str = "RGB",
        real_length: bool = True,
        transform: Callable[[Image.Image], Any] | None = None,
        target_transform: Callable[[int], Any] | None = None,
        transforms: Callable[..., Any] | None = None,
    ) -> None:
        for argument, value in (("length", length), ("height", height), ("width", width), ("num_classes", num_classes)):
            check_at_least(argument, value, 1)
        check_choice("mode", mode, CHANNELS)
        super().__init__(transforms=transforms, transform=transform, target_transform=target_transform)
        self.mode, self.real_length = mode, real_length
        self.shape = (height, width) if mode == "L" else (height, width, CHANNELS[mode])
        self._size = height * width * CHANNELS[mode]
        # The images overlap if they do not fit into the buffer side by side.
        self._step = min(self._size, max(1, BUFFER // length))
        random = np.random.default_rng(SEED)
        self._noise = random.integers(0, 256, size=self._size + (length - 1) * self._step, dtype=np.uint8)
        targets = random.permutation(length) % num_classes
        self._set_labels(targets.tolist(), [f"class {label}" for label in range(num_classes)])

    def _image(self, index: int) -> Image.Image:
        start = (index % len(self)) * self._step
        return Image.fromarray(self._noise[start : start + self._size].reshape(self.shape))

    def extra_repr(self) -> str:
        """Return the line of ``repr`` with shape and classes."""
        return f"Noise: {self.shape}, {len(self.classes)} classes"
