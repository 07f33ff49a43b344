"""Batches of images with boxes, and checks of their targets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..loading import DataError
from .box_images import Target

TOLERANCE = 1.0
"""Pixels that a box may exceed its image, as annotations are rounded."""

XYWH = "are they x, y, width, height? Boxes must be x1, y1, x2, y2"


class TargetError(DataError):
    """Error for an image or a target that a detector cannot learn from; the message names the image."""


def collate_detection(batch: Sequence[Sequence[Any]]) -> tuple[list[Any], ...]:
    """Return a batch of images with boxes: lists of images and of targets, as torchvision's detectors take them.

    Images may differ in size. If the samples have a third entry, as torchdistill's training samples do, the batch has a
    third list.

    Args:
        batch: samples ``(image, target)`` or ``(image, target, supplement)``, see
            :class:`~kd_plugins.data.detection.box_images.BoxImages`.

    Returns:
        Images, targets and, if present, supplements. Boxes are float32 and labels int64.

    Raises:
        TargetError: if an image is not a float tensor (3, H, W), or a target lacks ``image_id``, or its boxes are
            empty, outside the image or of another format, or a label is below 1.

    Example:
        >>> target = {"boxes": torch.tensor([[0, 0, 4, 4]]), "labels": torch.tensor([1]), "image_id": torch.tensor(7)}
        >>> images, targets = collate_detection([(torch.zeros(3, 8, 8), target)])
        >>> targets[0]["boxes"]
        tensor([[0., 0., 4., 4.]])
    """
    images, targets, *supplements = map(list, zip(*batch, strict=True))
    checked = [checked_target(image, target) for image, target in zip(images, targets, strict=True)]
    return images, checked, *supplements


def checked_target(image: Any, target: Any) -> Target:
    """Return a target with float32 boxes and int64 labels.

    Raises:
        TargetError: see :func:`collate_detection`.
    """
    if not isinstance(target, dict) or "image_id" not in target:
        found = ", ".join(map(repr, target)) if isinstance(target, dict) else type(target).__name__
        raise TargetError(f"a target must be a dictionary with boxes, labels and image_id, found {found}")
    name = f"image {int(target['image_id'])}"
    if not isinstance(image, Tensor) or image.ndim != 3 or not image.is_floating_point():
        raise TargetError(
            f"{name} must be a float tensor (3, H, W) in 0..1, found {_found(image)}; divide uint8 by 255"
        )
    boxes, labels = (target.get(key) for key in ("boxes", "labels"))
    if not isinstance(boxes, Tensor) or boxes.ndim != 2 or boxes.shape[1] != 4:
        raise TargetError(f"{name}: boxes must be a tensor (m, 4) of x1, y1, x2, y2, found {_found(boxes)}")
    if not isinstance(labels, Tensor) or labels.shape != boxes.shape[:1] or labels.is_floating_point():
        raise TargetError(f"{name}: labels must be integers of shape ({len(boxes)},), found {_found(labels)}")
    boxes, labels = boxes.float(), labels.long()
    _check_boxes(name, boxes, int(image.shape[1]), int(image.shape[2]))
    if len(labels) and int(labels.min()) < 1:
        raise TargetError(
            f"{name}: labels must be 1 or more, found {int(labels.min())}; 0 is the background, so classes begin at 1"
        )
    return {**target, "boxes": boxes, "labels": labels}


def _check_boxes(name: str, boxes: Tensor, height: int, width: int) -> None:
    low, high = boxes[:, :2], boxes[:, 2:]
    empty = ~(high > low).all(dim=1)
    if empty.any():
        box = boxes[empty][0].tolist()
        raise TargetError(f"{name}: box {box} has no width or height; {XYWH}, with x2 > x1 and y2 > y1")
    limit = boxes.new_tensor([width, height]) + TOLERANCE
    outside = ((low < -TOLERANCE) | (high > limit)).any(dim=1)
    if outside.any():
        box = boxes[outside][0].tolist()
        raise TargetError(f"{name}: box {box} lies outside the image of width {width} and height {height}; {XYWH}")


def check_labels(targets: Sequence[Target], classes: int) -> None:
    """Raise ``TargetError`` if a label is not below ``classes``, the detector's number including the background."""
    # One comparison for the whole batch, because each would wait for a GPU.
    if not targets or not bool((torch.cat([target["labels"] for target in targets]) >= classes).any()):
        return
    for target in targets:
        labels = target["labels"]
        if len(labels) and int(labels.max()) >= classes:
            raise TargetError(
                f"image {int(target['image_id'])}: label {int(labels.max())} is beyond the detector's classes, 1.."
                f"{classes - 1}; set num_classes to the number of classes + 1 for the background"
            )


def _found(value: Any) -> str:
    return f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
