"""The images that a config's statistics are fitted on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.utils.data import Subset

from ..data.unaugmented import unaugmented
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
    section = term.stage.get("train_data_loader") or {}
    evaluation = term.stage.get("val_data_loader") or (built.get("test") or {}).get("test_data_loader") or {}
    names = section.get("dataset_id", ""), evaluation.get("dataset_id")
    try:
        return unaugmented(built.get("datasets") or {}, *names, named=term.dataset_id, place=term.place)
    except ValueError as error:
        raise ConfigError(f"{config.path}: {error}") from error


def few_images(dataset: Any) -> Subset:
    """Return a few images, spread over a data set."""
    images = min(len(dataset), FEW)
    return Subset(dataset, [number * len(dataset) // images for number in range(images)])
