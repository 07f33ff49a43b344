"""Random horizontal flip of an image together with its boxes."""

from __future__ import annotations

import torch
from torch import Tensor

from .box_images import Target


class RandomFlip:
    """Mirror image and boxes left to right, with a probability.

    Args:
        probability: in 0..1.

    Raises:
        ValueError: on another probability.

    Example:
        >>> image, target = torch.zeros(3, 4, 10), {"boxes": torch.tensor([[0.0, 1.0, 3.0, 2.0]])}
        >>> RandomFlip(1.0)(image, target)[1]["boxes"]
        tensor([[ 7.,  1., 10.,  2.]])
    """

    def __init__(self, probability: float = 0.5) -> None:
        if isinstance(probability, bool) or not isinstance(probability, (int, float)) or not 0 <= probability <= 1:
            raise ValueError(f"probability must be a number in 0..1, found {probability!r}")
        self.probability = probability

    def __call__(self, image: Tensor, target: Target) -> tuple[Tensor, Target]:
        """Return image (3, H, W) and target, mirrored or not.

        Raises:
            ValueError: if the target has masks or keypoints, which are not mirrored.
        """
        if {"masks", "keypoints"} & target.keys():
            raise ValueError("RandomFlip mirrors boxes only, found masks or keypoints; use torchvision.transforms.v2")
        if torch.rand(()) >= self.probability:
            return image, target
        x1, y1, x2, y2 = target["boxes"].unbind(dim=1)
        width = image.shape[2]
        return image.flip(2), {**target, "boxes": torch.stack([width - x2, y1, width - x1, y2], dim=1)}

    def __repr__(self) -> str:
        return f"{type(self).__name__}(probability={self.probability})"
