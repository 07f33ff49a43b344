"""A stratified part of a data set, such as validation images taken from the training images."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch.utils.data import Dataset, Subset

PARTS = ("train", "val")
LABELS = ("targets", "labels", "_labels", "y")
"""Attributes in which torchvision's data sets hold their labels; others have pairs in ``_samples``."""


class Split(Subset[Any]):
    """One of two disjoint parts of a data set, with the classes in the proportions of the whole.

    Both parts of one data set are given by the same arguments and another ``part``; the images are drawn by ``seed``
    alone, independent of the global random state.

    Args:
        dataset: with its labels in ``targets`` or ``labels``, as torchvision's data sets have them.
        part: ``"train"`` or ``"val"``.
        val_share: share of all images that the validation part has, above 0 and below 1; None for a training part
            that leaves none.
        images: number of training images, drawn from those that validation leaves; None takes all.
        seed: seed of the drawing.

    Attributes:
        targets: labels of the part, in its order.
        classes: names of the classes.

    Raises:
        ValueError: on a share or number out of range, or for which the classes do not suffice: a part has at least as
            many images as there are classes, and a class at least two; on a data set without labels.

    Example:
        >>> from kd_plugins.data import Digits
        >>> train = Split(Digits(), part="train", val_share=0.1, images=200)
        >>> val = Split(Digits(), part="val", val_share=0.1, images=200)
        >>> len(train), len(val), len(set(train.indices) & set(val.indices))
        (200, 144, 0)
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        *,
        part: str = "train",
        val_share: float | None = 0.1,
        images: int | None = None,
        seed: int = 0,
    ) -> None:
        if part not in PARTS:
            raise ValueError(f"part must be train or val, found {part!r}")
        if val_share is None and part == "val":
            raise ValueError("part val needs a val_share, such as 0.1, found None")
        if val_share is not None and not (isinstance(val_share, int | float) and 0 < val_share < 1):
            raise ValueError(f"val_share must be a number above 0 and below 1, found {val_share!r}")
        if images is not None and (not isinstance(images, int) or isinstance(images, bool) or images < 1):
            raise ValueError(f"images must be a whole number above 0, found {images!r}")
        labels = _labels(dataset)
        train, val = np.arange(len(labels)), np.arange(0)
        if val_share is not None:
            train, val = _halves(labels, train, round(val_share * len(labels)), seed, "val_share")
        if images is not None and images != len(train):
            if images > len(train):
                raise ValueError(
                    f"images is {images}, but {len(train)} of {len(labels)} images are left for training: lower images "
                    "or val_share"
                )
            _, train = _halves(labels, train, images, seed, "images")
        indices = np.sort(train if part == "train" else val)
        super().__init__(dataset, indices.tolist())
        self.targets = labels[indices].tolist()
        self.classes = getattr(dataset, "classes", None) or [str(label) for label in np.unique(labels)]
        self.real_length = getattr(dataset, "real_length", True)


def _labels(dataset: Dataset[Any]) -> np.ndarray:
    for name in LABELS:
        labels = np.asarray(getattr(dataset, name, ()))
        if labels.ndim == 1 and labels.size:
            return labels
    if getattr(dataset, "_samples", None):
        return np.array([label for _, label in dataset._samples])  # type: ignore[attr-defined]
    raise ValueError(
        f"{type(dataset).__name__} has no list of labels ({', '.join(LABELS)}), so it cannot be split by class: give "
        "a validation set of its own"
    )


def _halves(
    labels: np.ndarray, among: np.ndarray, size: int, seed: int, argument: str
) -> tuple[np.ndarray, np.ndarray]:
    """Split ``among`` into the rest and ``size`` images, by class."""
    # Imported here because importing scikit-learn takes a second.
    from sklearn.model_selection import train_test_split

    try:
        rest, drawn = train_test_split(among, test_size=size, random_state=seed, stratify=labels[among])
    except ValueError as error:
        classes, counts = np.unique(labels[among], return_counts=True)
        raise ValueError(
            f"{argument} asks for {size} of {len(among)} images in {len(classes)} classes, the smallest of which has "
            f"{counts.min()}: each part needs as many images as there are classes, and each class two"
        ) from error
    return rest, drawn
