"""Options of ``recipe`` about the images: size, normalisation, augmentation, and which of them train and validate."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from ..._names import unknown_name
from ...pairs.models import Model
from ..request import Request
from .augmentation import AUGMENTS, CROP_FLIP, IMAGENET
from .datasets import Dataset, part_of

VAL_SHARE = 0.1
"""Where there are no validation images."""
LEAST_SIZE = 8
MOST_SMALL = 80
"""Images of at most this size are cropped after padding, larger ones as on ImageNet."""


def with_choices(dataset: Dataset, request: Request, student: Model) -> Dataset:
    """Return a data set with the request's choices, and sentences about them.

    Raises:
        ValueError: on a value out of range, or one that does not fit the data set or the student.
    """
    if dataset.name == "digits":
        if request.data_words():
            raise ValueError(f"{request.data_words()[0]}: digits has a preparation of its own; leave the option out")
        return dataset
    dataset = _sized(dataset, request.size, student)
    if request.augment is not None:
        if request.augment not in AUGMENTS:
            raise unknown_name("value of --augment", request.augment, AUGMENTS)
        dataset = dataclasses.replace(dataset, augment=request.augment)
    return _divided(_normalised(dataset, request.mean, request.std), request)


def _sized(dataset: Dataset, size: int | None, student: Model) -> Dataset:
    if size is None:
        own = f"{dataset.loaded}x{dataset.loaded}"
        told = f"The median of the images' shorter sides is {dataset.side} pixels: models of any size get {own}."
        return _told(dataset, told) if dataset.side else dataset
    if size < LEAST_SIZE:
        raise ValueError(f"--size must be a whole number of at least {LEAST_SIZE}, found {size}")
    if not student.resizable and size != student.input_size:
        own = f"{student.input_size}x{student.input_size}"
        raise ValueError(f"--size {size}: {student.name} takes images of {own}; leave the option out")
    small = CROP_FLIP if 0 < dataset.size <= MOST_SMALL else IMAGENET
    return dataclasses.replace(dataset, loaded=size, augment=dataset.augment or small)


def _normalised(dataset: Dataset, mean: Sequence[float] | None, std: Sequence[float] | None) -> Dataset:
    if (mean is None) != (std is None):
        raise ValueError(f"--mean and --std go together: add {'--mean' if mean is None else '--std'}")
    if mean is not None and std is not None:
        for flag, values in (("--mean", mean), ("--std", std)):
            if len(values) != 3:
                found = ",".join(f"{value:g}" for value in values)
                raise ValueError(f"{flag} must be three numbers, one a channel, such as 0.5,0.5,0.5, found {found}")
        if min(std) <= 0:
            raise ValueError(f"--std must be above 0, found {min(std):g}")
        return dataclasses.replace(dataset, stats=(tuple(mean), tuple(std)))
    if dataset.measure is None:
        return dataset
    measured = dataset.measure()
    if measured is None:
        return _told(dataset, "Mean and standard deviation are ImageNet's, as the images are not at hand.")
    stats, images = measured
    dataset = dataclasses.replace(dataset, stats=stats)
    return _told(dataset, f"Mean and standard deviation are those of {images:,} training images.")


def _divided(dataset: Dataset, request: Request) -> Dataset:
    """Take validation images, and as many training images as are wanted, from the training images."""
    share, images = request.val_share, request.train_images
    if share is not None:
        if not 0 < share < 1:
            raise ValueError(f"--val-share must be above 0 and below 1, found {share:g}")
        if dataset.val is not None:
            raise ValueError(
                f"--val-share {share:g}: {dataset.title} has validation images of its own; leave the option out"
            )
    elif dataset.val is None and not dataset.val_is_test and (images is not None or not dataset.tabled):
        # One image of every class at least.
        share = max(VAL_SHARE, math.ceil(10_000 * dataset.classes / dataset.images) / 10_000)
    if share is None and images is None:
        if request.split_seed:
            raise ValueError(
                f"--split-seed {request.split_seed}: no images are drawn; add --train-images or --val-share, or leave "
                "it out"
            )
        return dataset
    total = dataset.images
    taken = 0 if share is None else round(share * total)
    _check_numbers(dataset, share, taken, images)
    seed = {"seed": request.split_seed} if request.split_seed else {}
    number = {} if images is None else {"images": images}
    drawn = f"drawn by class with seed {request.split_seed}"
    train = part_of(dataset.train, "train", val_share=share, **number, **seed)
    used = total - taken if images is None else images
    if share is None:
        told = f"{used:,} of the {total:,} training images, {drawn}, train."
        return _told(dataclasses.replace(dataset, train=train, images=used), told)
    val = part_of(dataset.train, "val", val_share=share, **seed)
    others = "the others train" if images is None else f"{used:,} others train"
    told = f"{taken:,} of the {total:,} training images, {drawn}, choose the best epoch; {others}."
    changed = dataclasses.replace(dataset, train=train, val=val, val_is_test=False, images=used)
    return _told(changed, told)


def _check_numbers(dataset: Dataset, share: float | None, taken: int, images: int | None) -> None:
    """Refuse parts that cannot have an image of every class."""
    rest, classes = dataset.images - taken, dataset.classes
    if dataset.least == 1:
        raise ValueError(
            f"{dataset.title}: a class has a single training image, so no images can be drawn by class; add one, or "
            "make a folder val"
        )
    if share is not None and (taken < classes or rest < classes):
        raise ValueError(
            f"--val-share {share:g} of {dataset.images} training images are {taken}, which leaves {rest}: each part "
            f"needs at least one image for each of the {classes} classes"
        )
    if images is None:
        return
    if images < classes:
        raise ValueError(f"--train-images must be at least {classes}, one image for each class, found {images}")
    if images > rest:
        raise ValueError(
            f"--train-images {images}: {dataset.images} training images, of which {taken} validate, leave {rest}; "
            "lower it"
        )
    if rest - classes < images < rest:
        raise ValueError(
            f"--train-images {images}: images are drawn by class, which must leave at least {classes}: take "
            f"{rest - classes} or fewer, or all {rest}"
        )


def _told(dataset: Dataset, sentence: str) -> Dataset:
    return dataclasses.replace(dataset, told=(*dataset.told, sentence))
