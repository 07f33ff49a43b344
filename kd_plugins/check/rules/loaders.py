"""Mistakes in the data loaders of a config."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch.utils.data import RandomSampler, SequentialSampler

from ...data.inside import base_datasets, normalisation, normalisation_in, single_transforms, transform_of
from ..findings import Findings
from ..stage import Section, Stage, all_stages, kwargs_of
from .shared_images import check_shared_images

WRITTEN = ("Digits", "MNIST", "EMNIST", "KMNIST", "QMNIST", "USPS", "SVHN")
"""Data sets of digits and letters, which must not be mirrored."""

RANDOM_TRANSFORMS = ("ColorJitter", "AutoAugment", "RandAugment", "TrivialAugmentWide", "AugMix", "GaussianBlur")
"""Random transforms whose class names do not start with Random."""


def train_loader_runs(findings: Findings, stage: Stage) -> bool:
    """Check the training loader; return whether it yields a batch."""
    section, at = stage.loader, stage.loader_path
    if not section:
        if not stage.number:
            findings.error("train_data_loader is missing: add one", *stage.path)
        return bool(stage.number)
    if _kind(section) is SequentialSampler:
        findings.warning("the training images are not shuffled: use RandomSampler", *at, "sampler")
    kwargs, images = kwargs_of(section), len(stage.built["datasets"][section["dataset_id"]])
    size = kwargs.get("batch_size")
    if not images:
        findings.error("the data set is empty", *at, "dataset_id")
    elif isinstance(size, int) and kwargs.get("drop_last") and images < size:
        message = f"drop_last leaves no batch of {size} from {images} images: lower batch_size"
        findings.error(message, *at, "kwargs", "batch_size")
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
    _check_measured(findings, stage.built, section, (*stage.path, "val_data_loader"), stage.loader.get("dataset_id"))


def check_loader(findings: Findings, stage: Stage) -> None:
    """Check the training loader for ignored settings, flips of digits and letters, and draws of a part of the data."""
    at, data = stage.loader_path, stage.data
    if kwargs_of(stage.loader).get("persistent_workers"):
        message = "persistent_workers is ignored, because resuming would then not be exact: remove it"
        findings.warning(message, *at, "kwargs", "persistent_workers")
    flips = [name for name in _random_transforms(transform_of(data)) if "Flip" in name]
    kind = type(base_datasets(data)[0]).__name__
    if flips and kind in WRITTEN:
        findings.warning(f"{flips[0]} turns characters of {kind} into other characters: remove it", *at, "dataset_id")
    drawn = kwargs_of(stage.loader.get("sampler") or {}).get("num_samples")
    if isinstance(drawn, int) and data is not None and drawn < len(data):
        message = f"an epoch uses {drawn} of {len(data)} images: remove num_samples, unless this is intended"
        findings.warning(message, *at, "sampler", "kwargs", "num_samples")


def check_views(findings: Findings, stage: Stage) -> None:
    """Add two views that differ in normalisation, and strong views that are not random."""
    wrapper = stage.loader.get("dataset_wrapper") or {}
    strong = kwargs_of(wrapper).get("strong") if wrapper.get("key") == "TwoViews" else None
    if strong is None or stage.data is None:
        return
    at = (*stage.loader_path, "dataset_wrapper", "kwargs", "strong")
    if normalisation(stage.data) != normalisation_in(strong):
        findings.warning("the strong and the weak view are normalised differently: give both the same Normalize", *at)
    if next(_random_transforms(strong), None) is None:
        findings.warning("the strong view is not random: add a random transform, such as RandomAffine", *at)


def check_test(findings: Findings, built: Mapping[str, Any]) -> None:
    """Check the test loader."""
    section = (built.get("test") or {}).get("test_data_loader")
    if not section:
        findings.warning("the test section is missing: the student is tested on the validation data")
        return
    stages = list(all_stages(built))
    trained = [stage.loader["dataset_id"] for stage in stages if stage.loader.get("dataset_id")]
    trained_on = section["dataset_id"] if section["dataset_id"] in trained else next(iter(trained), None)
    if not any(section is stage.section.get("val_data_loader") for stage in stages):
        _check_measured(findings, built, section, ("test", "test_data_loader"), trained_on)


def _check_measured(
    findings: Findings, built: Section, section: Section, at: tuple[str, ...], trained_on: str | None
) -> None:
    """Check a loader on which accuracy is measured."""
    datasets, measured = built["datasets"], section["dataset_id"]
    if measured == trained_on:
        findings.error("accuracy is measured on the training images: set another dataset_id", *at, "dataset_id")
    elif trained_on in datasets and measured in datasets:
        check_shared_images(findings, datasets[trained_on], datasets[measured], at)
    if _kind(section) is RandomSampler:
        findings.warning("evaluation images need no shuffling: use SequentialSampler", *at, "sampler")
    found = next(_random_transforms(transform_of(datasets[measured])), None)
    if found is not None and measured != trained_on:
        message = f"evaluation images are augmented at random by {found}: remove it from their transform"
        findings.warning(message, *at, "dataset_id")
    ways = [normalisation(datasets.get(key)) for key in (trained_on, measured)]
    if trained_on is not None and ways[0] != ways[1]:
        there = [f"mean {way[0]}, std {way[1]}" if way else "no normalisation" for way in ways]
        message = f"evaluation images have {there[1]}, training images {there[0]}: give both the same Normalize"
        findings.warning(message, *at, "dataset_id")
    if kwargs_of(section).get("drop_last"):
        findings.warning("drop_last excludes images from the accuracy: remove it", *at, "kwargs", "drop_last")


def _kind(section: Section) -> Any:
    return (section.get("sampler") or {}).get("class_or_func")


def _random_transforms(transforms: Any) -> Iterator[str]:
    """Yield the names of the random steps of a transform."""
    for transform in single_transforms(transforms):
        name = type(transform).__name__
        if name.startswith("Random") or name in RANDOM_TRANSFORMS:
            yield name
