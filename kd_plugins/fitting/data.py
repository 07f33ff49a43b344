"""The images for fitting a config's statistics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.utils.data import Subset

from .._errors import ConfigError
from ..config.class_numbering import folder_faults, numbering_fault
from ..config.config import Config
from ..data.unaugmented import unaugmented
from .terms import LetKDTerm

FEW = 32
"""Number of images that provide mock statistics for checks, without training."""


def fit_dataset(config: Config, built: Mapping[str, Any], term: LetKDTerm) -> tuple[Any, str]:
    """Return the data set for fitting a term's statistics, and a one-line description.

    It is the training set with the transform of the validation (or test) set, and so without augmentation.
    ``fit_dataset_id`` in the loss's kwargs selects another data set, which is used unchanged.
    """
    section = term.stage.get("train_data_loader") or {}
    evaluation = term.stage.get("val_data_loader") or (built.get("test") or {}).get("test_data_loader") or {}
    names = section.get("dataset_id", ""), evaluation.get("dataset_id")
    try:
        found = unaugmented(built.get("datasets") or {}, *names, named=term.dataset_id, place=term.place)
        if term.dataset_id is not None:
            check_fitted_on(built["datasets"], *names[:1], term.dataset_id)
        return found
    except ValueError as error:
        raise ConfigError(f"{config.path}: {error}") from error


def check_fitted_on(datasets: Mapping[Any, Any], trained: Any, named: Any) -> None:
    """Refuse a data set whose classes differ from the training set's."""
    faults = list(folder_faults(datasets[named]))
    if trained in datasets and (found := numbering_fault(datasets[trained], datasets[named], (trained, named))):
        faults += [found[0]] if found[1] else []
    if faults:
        raise ValueError(faults[0])


def few_images(dataset: Any, images: int = FEW) -> Subset:
    """Return up to ``images`` images, evenly spaced over a data set."""
    images = min(len(dataset), images)
    return Subset(dataset, [number * len(dataset) // images for number in range(images)])
