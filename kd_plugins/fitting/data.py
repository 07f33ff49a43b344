"""The images that a config's statistics are fitted on."""

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
"""Images whose positions stand in for clusters where nobody trains with them."""


def fit_dataset(config: Config, built: Mapping[str, Any], term: LetKDTerm) -> tuple[Any, str]:
    """Return the data set that a term's statistics are fitted on, and a line that describes it.

    This is the training set behind the transform of the validation (or test) set, which prepares images for the same
    models without augmentation. ``fit_dataset_id`` in the loss's kwargs names another one, taken as it is.

    Raises:
        ConfigError: when there is no such data set, or no transform to take over.
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
    """Refuse images to fit on whose labels are not those of the training set."""
    faults = list(folder_faults(datasets[named]))
    if trained in datasets and (found := numbering_fault(datasets[trained], datasets[named], (trained, named))):
        faults += [found[0]] if found[1] else []
    if faults:
        raise ValueError(faults[0])


def few_images(dataset: Any, images: int = FEW) -> Subset:
    """Return a few images, spread over a data set; all where it has no more."""
    images = min(len(dataset), images)
    return Subset(dataset, [number * len(dataset) // images for number in range(images)])
