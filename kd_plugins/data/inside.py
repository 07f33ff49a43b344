"""Access to the data sets inside subsets, concatenations and wrappers, and to the steps of their transforms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch.utils.data import ConcatDataset, Dataset

WRAPPED = ("dataset", "org_dataset", "raw")
"""Attributes in which torch's Subset, torchdistill's wrappers and TwoViews keep the wrapped data set."""


def base_datasets(dataset: Any) -> list[Any]:
    """Return the innermost data sets of a data set; itself if it wraps none.

    Example:
        >>> import torch
        >>> from torch.utils.data import Subset, TensorDataset
        >>> a, b = TensorDataset(torch.arange(3)), TensorDataset(torch.arange(2))
        >>> base_datasets(Subset(ConcatDataset([Subset(a, [0, 1]), b]), [1])) == [a, b]
        True
    """
    if isinstance(dataset, ConcatDataset):
        return [base for part in dataset.datasets for base in base_datasets(part)]
    for name in WRAPPED:
        inside = getattr(dataset, name, None)
        if isinstance(inside, Dataset):
            return base_datasets(inside)
    return [dataset]


def single_transforms(transform: Any) -> Iterator[Any]:
    """Yield the steps of a transform, without their containers.

    Example:
        >>> from torchvision.transforms import CenterCrop, Compose, ToTensor
        >>> list(single_transforms(Compose([CenterCrop(4), Compose([ToTensor()])])))
        [CenterCrop(size=(4, 4)), ToTensor()]
    """
    inside = getattr(transform, "transforms", None)
    if isinstance(inside, (list, tuple)):
        for step in inside:
            yield from single_transforms(step)
    elif transform is not None:
        yield transform


def transform_of(dataset: Any) -> Any:
    """Return the transform of a data set, or of the first one inside it; None if it has none."""
    return getattr(base_datasets(dataset)[0], "transform", None)


def normalisation(dataset: Any) -> tuple[list[float], list[float]] | None:
    """Return mean and standard deviation of a data set's ``Normalize``; None if it has none."""
    return normalisation_in(transform_of(dataset))


def normalisation_in(transform: Any) -> tuple[list[float], list[float]] | None:
    """Return mean and standard deviation of a transform's last ``Normalize``; None if it has none."""
    steps = [step for step in single_transforms(transform) if type(step).__name__ == "Normalize"]
    return ([float(x) for x in steps[-1].mean], [float(x) for x in steps[-1].std]) if steps else None
