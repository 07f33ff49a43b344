"""The training images without their augmentation."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

from torch.utils.data import ConcatDataset, Subset
from torchvision.datasets.vision import StandardTransform

from .._checks import suggestion
from .config import Config, ConfigError
from .fit_terms import LetKDTerm

FEW = 32
"""Images whose positions stand in for clusters where nobody trains with them."""


def fit_dataset(config: Config, built: Mapping[str, Any], term: LetKDTerm) -> tuple[Any, str]:
    """Return the data set that a term's statistics are fitted on, and a line that describes it.

    This is the training set behind the transform of the validation (or test) set, which prepares images for the same
    models without augmentation. ``fit_dataset_id`` in the loss's kwargs names another one, taken as it is.

    Raises:
        ConfigError: when there is no such data set, or no transform to take over.
    """
    known = built.get("datasets") or {}
    if term.dataset_id is not None:
        if term.dataset_id not in known:
            raise ConfigError(
                f"{config.path}: unknown fit_dataset_id {term.dataset_id!r} at {term.place}; "
                f"{suggestion(term.dataset_id, map(str, known))}"
            )
        dataset = known[term.dataset_id]
        return dataset, _described(term.dataset_id, dataset)
    section = term.stage.get("train_data_loader") or {}
    evaluation = term.stage.get("val_data_loader") or (built.get("test") or {}).get("test_data_loader") or {}
    name = section.get("dataset_id", "")
    if name not in known:
        raise ConfigError(f"{config.path}: {term.place} needs a train_data_loader whose images it can be fitted on")
    other_way = (
        f"add fit_dataset_id to the kwargs at {term.place}: a data set of the training images without augmentation"
    )
    if evaluation.get("dataset_id") not in known:
        raise ConfigError(f"{config.path}: no val_data_loader says how images look without augmentation; {other_way}")
    reference = transform_holder(known[evaluation["dataset_id"]])
    plain = _with_transform(known[name], reference) if reference is not None else None
    if plain is None:
        raise ConfigError(
            f"{config.path}: the augmentation of {name} cannot be taken away, as "
            f"{'it' if reference is not None else evaluation['dataset_id']} has no attribute transform; {other_way}"
        )
    return plain, _described(name, plain)


def few_images(dataset: Any) -> Subset:
    """Return a few images, spread over a data set."""
    images = min(len(dataset), FEW)
    return Subset(dataset, [number * len(dataset) // images for number in range(images)])


def transform_holder(dataset: Any) -> Any:
    """Return what has the attribute ``transform``: the data set, or one that it is a part of."""
    while not hasattr(dataset, "transform"):
        inside = dataset.datasets[0] if isinstance(dataset, ConcatDataset) else getattr(dataset, "dataset", None)
        if inside is None:
            return None
        dataset = inside
    return dataset


def _with_transform(dataset: Any, reference: Any) -> Any:
    """Return a shallow copy of ``dataset`` with the transform of ``reference``; None where it has none to replace."""
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


def _described(name: str, dataset: Any) -> str:
    holder = transform_holder(dataset)
    transform = "" if holder is None else " ".join(repr(holder.transform).split())
    kind = type(holder if holder is not None else dataset).__name__
    # A repr may hold an address, which says nothing and is another one every time.
    return re.sub(r" at 0x[0-9a-f]+", "", f"{name} ({kind}; {transform})")
