"""Noise images with boxes, for runs without a download."""

from __future__ import annotations

import numpy as np

from ..fake_images import FakeImages
from .box_images import BoxImages, Target, Transforms, target_of

BOXES = 3
"""Number of boxes per image."""


class FakeBoxes(BoxImages):
    """Noise with the shape and the classes of a detection set.

    Args:
        length: number of images.
        height: image height in pixels.
        width: image width in pixels.
        num_classes: number of classes without the background.
        transforms: called on image and target.

    Raises:
        ValueError: on a number below 1.

    Example:
        >>> image, target = FakeBoxes(length=2, height=48, width=64, num_classes=80)[0]
        >>> image.shape, target["boxes"].shape
        (torch.Size([3, 48, 64]), torch.Size([3, 4]))
    """

    def __init__(
        self, *, length: int, height: int, width: int, num_classes: int, transforms: Transforms | None = None
    ) -> None:
        self.images = FakeImages(length=length, height=height, width=width, num_classes=num_classes)
        self.classes, self.transforms = self.images.classes, transforms

    def __len__(self) -> int:
        return len(self.images)

    def _pixels(self, index: int) -> np.ndarray:
        return np.asarray(self.images[index][0])

    def _target(self, index: int, height: int, width: int) -> Target:
        random = np.random.default_rng([0, index])
        size = np.array([width, height])
        corners = random.uniform(0, 0.6, (BOXES, 2)) * size
        boxes = np.concatenate([corners, corners + random.uniform(0.1, 0.4, (BOXES, 2)) * size], axis=1)
        return target_of(boxes, random.integers(1, len(self.classes) + 1, BOXES), image_id=index)
