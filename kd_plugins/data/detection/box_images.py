"""Base class of data sets of images with boxes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

Target = dict[str, Tensor]
"""Boxes and labels of an image, in torchvision's form."""

Transforms = Callable[[Tensor, Target], tuple[Tensor, Target]]
"""Changes image and target together."""


class BoxImages(Dataset, ABC):
    """Images with boxes; a subclass returns the pixels by :meth:`_pixels` and the target by :meth:`_target`.

    A sample is an image, floats (3, H, W) in 0..1, and a target: ``boxes`` (m, 4) as x1, y1, x2, y2 in pixels,
    ``labels`` (m,) from 1 on (0 is the background), ``image_id``, ``area`` (m,) and ``iscrowd`` (m,).

    Attributes:
        classes: class names; label 1 is the first one.
        transforms: called on image and target, or None.
    """

    classes: list[str]
    transforms: Transforms | None = None

    @abstractmethod
    def _pixels(self, index: int) -> np.ndarray:
        """Return the image as uint8 (H, W, 3)."""

    @abstractmethod
    def _target(self, index: int, height: int, width: int) -> Target:
        """Return the target of an image of this size."""

    def __getitem__(self, index: int) -> tuple[Tensor, Target]:
        """Return image and target number ``index``, after the transforms."""
        pixels = self._pixels(index)
        image = torch.tensor(pixels).permute(2, 0, 1).float() / 255
        target = self._target(index, *pixels.shape[:2])
        return (image, target) if self.transforms is None else self.transforms(image, target)


def target_of(boxes: Any, labels: Any, *, image_id: int, area: Any = None, iscrowd: Any = None) -> Target:
    """Return a target in torchvision's form, given m boxes as x1, y1, x2, y2 and m labels.

    The m areas are those of the boxes by default, and the m flags ``iscrowd`` 0.

    Example:
        >>> target_of([[0, 0, 4, 2]], [3], image_id=7)["area"]
        tensor([8.])
    """
    corners = torch.as_tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    own = (corners[:, 2:] - corners[:, :2]).prod(dim=1)
    return {
        "boxes": corners,
        "labels": torch.as_tensor(labels, dtype=torch.int64).reshape(-1),
        "image_id": torch.tensor(image_id),
        "area": torch.as_tensor(own if area is None else area, dtype=torch.float32),
        "iscrowd": torch.as_tensor([0] * len(corners) if iscrowd is None else iscrowd, dtype=torch.int64),
    }
