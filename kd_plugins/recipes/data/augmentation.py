"""The transforms of training and test images."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from ...pairs.models import VIT, Model
from .datasets import Dataset, Step

NONE, CROP_FLIP, IMAGENET = AUGMENTS = ("none", "crop-flip", "imagenet")
_FLIP: Step = ("RandomHorizontalFlip", {"p": 0.5})


@dataclass(frozen=True)
class Augmentation:
    """Steps for training images before ``ToTensor``, for test images, and for training images after ``Normalize``."""

    train: tuple[Step, ...]
    test: tuple[Step, ...] = ()
    after: tuple[Step, ...] = ()


def augmentation(dataset: Dataset, student: Model, size: int) -> Augmentation:
    """Return the steps that the data set names, else the papers' augmentation, for images of ``size`` pixels."""
    if dataset.real is not None:
        synthetic = augmentation(dataclasses.replace(dataset, real=None), student, size)
        return dataclasses.replace(synthetic, test=augmentation(dataset.real, student, size).test)
    flip = (_FLIP,) if dataset.flips else ()
    kind = dataset.augment or (CROP_FLIP if size <= 64 and dataset.size == size else IMAGENET)
    if kind == CROP_FLIP:
        fitted = (*dataset.first, *_fit(dataset.size, size))
        return Augmentation((*fitted, ("RandomCrop", {"size": size, "padding": size // 8}), *flip), fitted)
    test = (*dataset.first, *_plain(dataset, size))
    if kind == NONE:
        return Augmentation(test, test)
    train: tuple[Step, ...] = (*dataset.first, ("RandomResizedCrop", {"size": size, "scale": [0.08, 1.0]}), *flip)
    if student.family == VIT and size > 64:
        more: Step = ("RandAugment", {"num_ops": 2, "magnitude": 9})
        return Augmentation((*train, more), test, (("RandomErasing", {"p": 0.25}),))
    return Augmentation(train, test)


def _fit(own: int, size: int) -> tuple[Step, ...]:
    """Return the step that makes all images ``size`` pixels high and wide; ``own`` is 0 if they differ."""
    if own == size:
        return ()
    if (own, size) == (28, 32):
        return (("Pad", {"padding": 2}),)
    return (("Resize", {"size": [size, size]}),)


def _plain(dataset: Dataset, size: int) -> tuple[Step, ...]:
    """Return the steps for images that are not augmented; large ones keep their proportions."""
    if size <= 64 or (dataset.size == size and not dataset.tabled):
        return _fit(dataset.size, size)
    if 0 < dataset.size <= 64:
        return (("Resize", {"size": size}),)
    return (("Resize", {"size": round(size * 256 / 224)}), ("CenterCrop", {"size": size}))
