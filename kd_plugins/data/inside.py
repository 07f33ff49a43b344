"""The data sets inside subsets, concatenations and wrappers, and the transforms inside their chains."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch.utils.data import ConcatDataset, Dataset

WRAPPED = ("dataset", "org_dataset", "raw")
"""Where torch's Subset, torchdistill's wrappers and TwoViews have the data set that they wrap."""


def base_datasets(dataset: Any) -> list[Any]:
    """Return the data sets that give the samples of a data set; itself where it wraps none.

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


def single_transforms(dataset: Any) -> Iterator[Any]:
    """Yield the transforms of a data set's images in their order, without the containers around them.

    Example:
        >>> from torchvision.transforms import CenterCrop, Compose, ToTensor
        >>> class Images(Dataset):
        ...     transform = Compose([CenterCrop(4), Compose([ToTensor()])])
        >>> list(single_transforms(Images()))
        [CenterCrop(size=(4, 4)), ToTensor()]
    """
    waiting = [getattr(dataset, "transform", None)]
    while waiting:
        transform = waiting.pop(0)
        inside = getattr(transform, "transforms", None)
        if isinstance(inside, (list, tuple)):
            waiting[:0] = inside
        elif transform is not None:
            yield transform


def normalisation(data: Any) -> tuple[list[float], list[float]] | None:
    """Return mean and standard deviation that a data set's transform normalises with, None where it does not."""
    for transform in single_transforms(base_datasets(data)[0]):
        if type(transform).__name__ == "Normalize":
            return [float(x) for x in transform.mean], [float(x) for x in transform.std]
    return None
