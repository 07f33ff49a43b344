"""Images of ``kd-plugins synthesize``: they train the student, and a real data set validates it."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from ...pairs.models import CIFAR, CNN
from ..plan import Summand
from ..request import Request
from ..settings import MASK, Row
from .datasets import Dataset, find_dataset
from .digits import IMAGES, VALIDATED_FROM, digits_between

SYNTHETIC_PREFIX = "synthetic:"
DEFAULT = ("cifar10", 32, 10)
"""Name of the real data set unless it is named, and the size and number of classes of its images."""
SCHEDULE = "synthetic_cosine"
TAKES_LABELS = ("letkd2",)
"""Methods whose statistics need labels, beside those whose loss does."""

KEEP = 0.7
"""SFKD's K on synthetic images."""
KEEP_SOURCE = "K: that of SFKD's Table 8 (under review) for KD."
NOT_THE_PAPERS = (
    "SFKD gives no schedule for synthetic images: optimizer, epochs and batch are those of CMI's public code."
)


def synthetic_dataset(request: Request) -> Dataset:
    """Return the data set of ``synthetic:DIR``.

    Raises:
        ValueError: if the folder cannot be read, or the real data set is unknown or has other classes.
    """
    path = request.dataset.removeprefix(SYNTHETIC_PREFIX)
    if not path:
        raise ValueError(f"{SYNTHETIC_PREFIX}DIR needs the folder of `kd-plugins synthesize`")
    if request.val_share is not None:
        raise ValueError(f"--val-share {request.val_share:g}: real images validate, not synthetic ones; leave it out")
    # Imported here because it imports torch.
    from ...data.synthetic_images import SyntheticImages

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        images = SyntheticImages(path)
    height, width = images.data.shape[1:3]
    if height != width:
        raise ValueError(f"{path}: recipe writes configs for square images, found {height}x{width}")
    real, told = _real(request.real, images.description, path, height, len(images.classes))
    options = images.description.get("options") or {}
    made_by = (images.description.get("teacher") or {}).get("architecture", "a teacher")
    told += [f"{warning.message}." for warning in caught]
    flips = bool(options.get("flip"))
    ours = "Crop and flip are ours." if flips else "The crop is ours; there is no flip, as the synthesis had none."
    return Dataset(
        f"synthetic_{real.name}", f"{len(images):,} synthetic images", real.classes, height,
        CIFAR if height <= 64 else CNN, _stats(images.description, request, path),
        ("kd_plugins.data.SyntheticImages", {"root": path}), real.test, real.val, images=len(images),
        flips=flips, augment="crop-flip", loaded=height, val_is_test=real.val is None, real=real,
        told=(f"The images of {path}, made from {made_by}, train; validation is on {real.title}.", *told, ours),
    )  # fmt: skip


def check_methods(summands: Sequence[Summand], request: Request) -> list[str]:
    """Return a sentence about each method that takes labels.

    Raises:
        ValueError: if no method trains the student's classifier, which the cross-entropy does elsewhere.
    """
    methods = [summand.method for summand in summands]
    if not methods:
        raise ValueError(f"ce trains by labels, which {request.dataset} lacks: name a method and its --teacher")
    # A method that has no cross-entropy of its own trains the whole student.
    if not any(method.on_logits or method.teachers or not method.ce for method in methods):
        raise ValueError(
            f"{request.method} leaves the student's classifier to the cross-entropy, and synthetic images have no true "
            f"labels: add a method on logits, as in {request.method}+kd"
        )
    return [
        f"{method.title} takes the labels that the optimisation aimed at for true ones."
        for method in methods
        if method.name in TAKES_LABELS or any(loss.reads and loss.reads.uses_targets for loss in method.losses)
    ]


def data_free_row(summand: Summand, row: Row) -> Row:
    """Return a method's row with the settings of SFKD's Table 8, as far as it has any."""
    masks = summand.masked or summand.base == "sfkd"
    keep = {"keep": KEEP} if masks else {}
    if summand.base in ("kd", "sfkd") and not summand.standardized:
        source = "Temperature and K are those" if masks else "The temperature is that"
        sentence = f"{source} of SFKD's Table 8 (under review). The weight is 1, as there is no cross-entropy."
        return Row({**keep, "weight": 1.0}, (sentence,))
    sentences = [KEEP_SOURCE if sentence == MASK else sentence for sentence in row.about]
    return Row({**row.values, **keep}, tuple(sentences))


def _real(name: str | None, info: Mapping[str, Any], path: str, size: int, classes: int) -> tuple[Dataset, list[str]]:
    """Return the real data set, and a sentence about it."""
    told = []
    recorded = (info.get("real") or {}).get("dataset")
    if name is None and recorded is None:
        name, *fitting = DEFAULT
        if fitting != [size, classes]:
            raise ValueError(
                f"{path} has images of {size}x{size} in {classes} classes and does not name the real images that "
                "validate: add --real DATASET, such as --real cifar100 or --real folder:PATH"
            )
        told = ["The folder does not name the real images: CIFAR-10, unless --real names others."]
    spelled = recorded if name is None else name
    if not isinstance(spelled, str) or spelled.startswith(SYNTHETIC_PREFIX):
        raise ValueError(f"the real images of {path} must be a data set such as cifar10, found {spelled!r}")
    real = find_dataset(spelled)
    if real.classes != classes:
        raise ValueError(
            f"{path} has {classes} classes, {real.title} has {real.classes}: name the teacher's data set with --real"
        )
    if real.name == "digits":
        real = dataclasses.replace(
            real, val=digits_between(VALIDATED_FROM, IMAGES), test=("kd_plugins.data.Digits", {"train": False})
        )
    if real.val is None:
        told.append("The real test images choose the best epoch, too.")
    return real, told


def _stats(info: Mapping[str, Any], request: Request, path: str) -> tuple[Sequence[float], Sequence[float]]:
    """Return the teacher's normalisation; that of ``--mean`` and ``--std`` replaces it later."""
    mean, std = info.get("mean") or request.mean, info.get("std") or request.std
    if mean is None or std is None or len(mean) != 3 or len(std) != 3:
        raise ValueError(f"{path} does not tell the teacher's normalisation: add --mean V,V,V --std V,V,V")
    return tuple(mean), tuple(std)
