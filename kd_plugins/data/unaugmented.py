"""Training images without augmentation."""

from __future__ import annotations

import copy
import re
from collections.abc import Hashable, Mapping
from typing import Any

from torch.utils.data import ConcatDataset
from torchvision.datasets.vision import StandardTransform

from .._checks import suggestion


def unaugmented(
    datasets: Mapping[Any, Any], train: Hashable, evaluation: Hashable, *, named: str | None = None, place: str
) -> tuple[Any, str]:
    """Return the training set without augmentation, and a line that describes it.

    It gets the transform of the validation (or test) set, which prepares images for the same models; the training set
    itself does not change. ``named`` is ``fit_dataset_id``, the name of a set to use unchanged instead; ``place`` says
    in messages what needs the images.

    Raises:
        ValueError: if there is no such data set, or no transform to use.
    """
    if named is not None:
        if named not in datasets:
            raise ValueError(f"unknown fit_dataset_id {named!r} at {place}; {suggestion(named, map(str, datasets))}")
        return datasets[named], description_of(named, datasets[named])
    if train not in datasets:
        raise ValueError(f"{place} needs a train_data_loader, because the fit reads its images")
    other_way = f"add fit_dataset_id, a data set of the training images without augmentation, to the kwargs at {place}"
    if evaluation not in datasets:
        raise ValueError(f"there is no val_data_loader whose transform could replace the augmentation; {other_way}")
    reference = transform_holder(datasets[evaluation])
    plain = _with_transform(datasets[train], reference) if reference is not None else None
    if plain is None:
        raise ValueError(
            f"the augmentation of {train} cannot be removed, because "
            f"{'it' if reference is not None else evaluation} has no attribute transform; {other_way}"
        )
    return plain, description_of(str(train), plain)


def transform_holder(dataset: Any) -> Any:
    """Return the object with the attribute ``transform``: the data set or the first one inside it that has it."""
    while not hasattr(dataset, "transform"):
        inside = dataset.datasets[0] if isinstance(dataset, ConcatDataset) else getattr(dataset, "dataset", None)
        if inside is None:
            return None
        dataset = inside
    return dataset


def description_of(name: str, dataset: Any) -> str:
    """Return a line that describes a data set."""
    holder = transform_holder(dataset)
    transform = "" if holder is None else " ".join(repr(holder.transform).split())
    kind = type(holder if holder is not None else dataset).__name__
    # A repr may contain a memory address, which changes every time.
    return re.sub(r" at 0x[0-9a-f]+", "", f"{name} ({kind}; {transform})")


def _with_transform(dataset: Any, reference: Any) -> Any:
    """Return a shallow copy of ``dataset`` with the transform of ``reference``; None if it has none to replace."""
    plain = copy.copy(dataset)
    if hasattr(dataset, "transform"):
        plain.transform = reference.transform
        if hasattr(dataset, "transforms"):  # torchvision's pair of transforms for image and label
            target_transform = getattr(dataset, "target_transform", None)
            both = reference.transform is not None or target_transform is not None
            plain.transforms = StandardTransform(reference.transform, target_transform) if both else None
        return plain
    if isinstance(dataset, ConcatDataset):
        plain.datasets = [_with_transform(part, reference) for part in dataset.datasets]
        return None if any(part is None for part in plain.datasets) else plain
    if getattr(dataset, "dataset", None) is None:
        return None
    plain.dataset = _with_transform(dataset.dataset, reference)
    return None if plain.dataset is None else plain
