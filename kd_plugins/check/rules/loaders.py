"""Mistakes in the data loaders of a config."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch.utils.data import DataLoader, RandomSampler, SequentialSampler

from ...data.inside import base_datasets, normalisation, normalisation_in, single_transforms, transform_of
from ..findings import Findings
from ..stage import Section, Stage, all_stages
from .shared_images import check_shared_images, training_and_measured

WRITTEN = ("Digits", "MNIST", "EMNIST", "KMNIST", "QMNIST", "USPS", "SVHN")
"""Data sets of digits and letters, which must not be mirrored."""

RANDOM_TRANSFORMS = ("ColorJitter", "AutoAugment", "RandAugment", "TrivialAugmentWide", "AugMix", "GaussianBlur")
"""Random transforms whose class names do not start with Random."""


def train_loader_runs(findings: Findings, stage: Stage) -> bool:
    """Check the training loader; return whether it yields a batch."""
    section, at = stage.section.get("train_data_loader") or {}, (*stage.path, "train_data_loader")
    if not section:
        if not stage.number:
            findings.error("train_data_loader is missing: add one", *stage.path)
        return bool(stage.number)
    if _kind(section) is SequentialSampler:
        findings.warning("the training images are not shuffled: use RandomSampler", *at, "sampler")
    kwargs, images = section.get("kwargs") or {}, len(stage.built["datasets"][section["dataset_id"]])
    size = kwargs.get("batch_size")
    if not images:
        findings.error("the data set is empty", *at, "dataset_id")
    elif isinstance(size, int) and kwargs.get("drop_last") and images < size:
        findings.error(
            f"drop_last leaves no batch of {size} from {images} images: lower batch_size",
            *at,
            "kwargs",
            "batch_size",
        )
    else:
        return True
    return False


def check_validation(findings: Findings, stage: Stage) -> None:
    """Check the validation loader of a stage."""
    section = stage.section.get("val_data_loader") or {}
    if not section:
        if not stage.number:
            findings.warning("val_data_loader is missing: the last epoch is taken as the best", *stage.path)
        return
    trained_on = (stage.section.get("train_data_loader") or {}).get("dataset_id")
    _check_measured(findings, stage.built, section, (*stage.path, "val_data_loader"), trained_on)


def check_loader(findings: Findings, stage: Stage) -> None:
    """Check the training loader for ignored settings, and for flips of digits and letters."""
    section, at = stage.section.get("train_data_loader") or {}, (*stage.path, "train_data_loader")
    kwargs = section.get("kwargs") or {}
    if kwargs.get("persistent_workers"):
        findings.warning(
            "persistent_workers is ignored, because resuming would then not be exact: remove it",
            *at, "kwargs", "persistent_workers",
        )  # fmt: skip
    data = stage.built["datasets"].get(section.get("dataset_id"))
    flips = [name for name in _random_transforms(transform_of(data)) if "Flip" in name] if data is not None else []
    kind = type(whole(data)).__name__
    if flips and kind in WRITTEN:
        findings.warning(f"{flips[0]} turns characters of {kind} into other characters: remove it", *at, "dataset_id")


def check_draws(findings: Findings, stage: Stage) -> None:
    """Add samplers that draw only a part of the data set in each epoch."""
    section = stage.section.get("train_data_loader") or {}
    data = stage.built["datasets"].get(section.get("dataset_id"))
    drawn = ((section.get("sampler") or {}).get("kwargs") or {}).get("num_samples")
    if isinstance(drawn, int) and data is not None and drawn < len(data):
        findings.warning(
            f"an epoch uses {drawn} of {len(data)} images: remove num_samples, unless this is intended",
            *stage.path, "train_data_loader", "sampler", "kwargs", "num_samples",
        )  # fmt: skip


def check_views(findings: Findings, stage: Stage) -> None:
    """Add two views that differ in normalisation, and strong views that are not random."""
    section = stage.section.get("train_data_loader") or {}
    wrapper, data = section.get("dataset_wrapper") or {}, stage.built["datasets"].get(section.get("dataset_id"))
    strong = (wrapper.get("kwargs") or {}).get("strong") if wrapper.get("key") == "TwoViews" else None
    if strong is None or data is None:
        return
    at = (*stage.path, "train_data_loader", "dataset_wrapper", "kwargs", "strong")
    if normalisation(data) != normalisation_in(strong):
        findings.warning("the strong and the weak view are normalised differently: give both the same Normalize", *at)
    if next(_random_transforms(strong), None) is None:
        findings.warning("the strong view is not random: add a random transform, such as RandomAffine", *at)


def check_test(findings: Findings, built: Mapping[str, Any]) -> None:
    """Check the test loader."""
    section = (built.get("test") or {}).get("test_data_loader")
    if not section:
        findings.warning("the test section is missing: the student is tested on the validation data")
        return
    loaders = [stage.section.get("train_data_loader") or {} for stage in all_stages(built)]
    trained = [x["dataset_id"] for x in loaders if x.get("dataset_id")]
    trained_on = section["dataset_id"] if section["dataset_id"] in trained else next(iter(trained), None)
    if not any(section is stage.section.get("val_data_loader") for stage in all_stages(built)):
        _check_measured(findings, built, section, ("test", "test_data_loader"), trained_on)


def _check_measured(
    findings: Findings, built: Section, section: Section, at: tuple[str, ...], trained_on: str | None
) -> None:
    """Check a loader on which accuracy is measured."""
    if section["dataset_id"] == trained_on:
        findings.error("accuracy is measured on the training images: set another dataset_id", *at, "dataset_id")
    pair = training_and_measured(built, trained_on, section["dataset_id"])
    if pair is not None:
        check_shared_images(findings, *pair, at)
    if _kind(section) is RandomSampler:
        findings.warning("evaluation images need no shuffling: use SequentialSampler", *at, "sampler")
    found = next(_random_transforms(transform_of(built["datasets"][section["dataset_id"]])), None)
    if found is not None and section["dataset_id"] != trained_on:
        findings.warning(
            f"evaluation images are augmented at random by {found}: remove it from their transform",
            *at,
            "dataset_id",
        )
    ways = [normalisation(built["datasets"].get(key)) for key in (trained_on, section["dataset_id"])]
    if trained_on is not None and ways[0] != ways[1]:
        there = [f"mean {way[0]}, std {way[1]}" if way else "no normalisation" for way in ways]
        findings.warning(
            f"evaluation images have {there[1]}, training images {there[0]}: give both the same Normalize",
            *at,
            "dataset_id",
        )
    if (section.get("kwargs") or {}).get("drop_last"):
        findings.warning("drop_last excludes images from the accuracy: remove it", *at, "kwargs", "drop_last")


def _kind(section: Section) -> Any:
    return (section.get("sampler") or {}).get("class_or_func")


def _random_transforms(whole: Any) -> Iterator[str]:
    """Yield the names of the random steps of a transform."""
    for transform in single_transforms(whole):
        name = type(transform).__name__
        if name.startswith("Random") or name in RANDOM_TRANSFORMS:
            yield name


def whole(data: Any) -> Any:
    """Return the data set inside subsets and torchdistill's wrappers; for a concatenation, that of its first part.

    Example:
        >>> import torch
        >>> from torch.utils.data import Subset, TensorDataset
        >>> data = TensorDataset(torch.arange(3))
        >>> whole(Subset(Subset(data, [0, 1]), [1])) is data
        True
    """
    return base_datasets(data)[0]


def training_data(stage: Stage, loader: DataLoader) -> Any:
    """Return the training set of a stage; the loader's wrapper is removed if the stage names the data set."""
    named = (stage.section.get("train_data_loader") or {}).get("dataset_id")
    return whole(stage.built["datasets"][named] if named is not None else loader.dataset)
