"""What a config says about its loaders that is seldom meant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch.utils.data import DataLoader, RandomSampler, SequentialSampler

from ...data.inside import base_datasets, normalisation, normalisation_in, single_transforms, transform_of
from ..findings import Findings
from ..stage import Section, Stage, all_stages
from .shared_images import check_shared_images, training_and_measured

WRITTEN = ("Digits", "MNIST", "EMNIST", "KMNIST", "QMNIST", "USPS", "SVHN")
"""Data sets of digits and letters."""

RANDOM_TRANSFORMS = ("ColorJitter", "AutoAugment", "RandAugment", "TrivialAugmentWide", "AugMix", "GaussianBlur")
"""Classes of random transforms whose names do not begin with Random."""


def train_loader_runs(findings: Findings, stage: Stage) -> bool:
    """Add what is wrong with the training loader; return whether it has a batch."""
    section, at = stage.section.get("train_data_loader") or {}, (*stage.path, "train_data_loader")
    if not section:
        if not stage.number:
            findings.error("there is no train_data_loader: nothing is trained on", *stage.path)
        return bool(stage.number)
    if _kind(section) is SequentialSampler:
        findings.warning("the training images come in one and the same order: use RandomSampler", *at, "sampler")
    kwargs, images = section.get("kwargs") or {}, len(stage.built["datasets"][section["dataset_id"]])
    size = kwargs.get("batch_size")
    if not images:
        findings.error("the data set is empty", *at, "dataset_id")
    elif isinstance(size, int) and kwargs.get("drop_last") and images < size:
        findings.error(
            f"{images} images make no batch of {size}, and drop_last drops the rest: lower batch_size",
            *at,
            "kwargs",
            "batch_size",
        )
    else:
        return True
    return False


def check_validation(findings: Findings, stage: Stage) -> None:
    """Add what is seldom meant of a stage's validation."""
    section = stage.section.get("val_data_loader") or {}
    if not section:
        if not stage.number:
            findings.warning("there is no val_data_loader: the last epoch counts as the best", *stage.path)
        return
    trained_on = (stage.section.get("train_data_loader") or {}).get("dataset_id")
    _check_measured(findings, stage.built, section, (*stage.path, "val_data_loader"), trained_on)


def check_loader(findings: Findings, stage: Stage) -> None:
    """Add settings of the training loader that it refuses, and flips of what changes its meaning with them."""
    section, at = stage.section.get("train_data_loader") or {}, (*stage.path, "train_data_loader")
    kwargs = section.get("kwargs") or {}
    if kwargs.get("persistent_workers"):
        findings.warning(
            "persistent_workers is taken as False, or a resumed run would not equal the uninterrupted one: remove it",
            *at, "kwargs", "persistent_workers",
        )  # fmt: skip
    data = stage.built["datasets"].get(section.get("dataset_id"))
    flips = [name for name in _random_transforms(transform_of(data)) if "Flip" in name] if data is not None else []
    kind = type(whole(data)).__name__
    if flips and kind in WRITTEN:
        findings.warning(f"{flips[0]} mirrors {kind}, where that makes other signs: remove it", *at, "dataset_id")


def check_draws(findings: Findings, stage: Stage) -> None:
    """Add samplers that draw fewer images than there are."""
    section = stage.section.get("train_data_loader") or {}
    data = stage.built["datasets"].get(section.get("dataset_id"))
    drawn = ((section.get("sampler") or {}).get("kwargs") or {}).get("num_samples")
    if isinstance(drawn, int) and data is not None and drawn < len(data):
        findings.warning(
            f"an epoch draws {drawn} of {len(data)} images: remove num_samples, unless that is meant",
            *stage.path, "train_data_loader", "sampler", "kwargs", "num_samples",
        )  # fmt: skip


def check_views(findings: Findings, stage: Stage) -> None:
    """Add two views of each image that are normalised in two ways, or are one."""
    section = stage.section.get("train_data_loader") or {}
    wrapper, data = section.get("dataset_wrapper") or {}, stage.built["datasets"].get(section.get("dataset_id"))
    strong = (wrapper.get("kwargs") or {}).get("strong") if wrapper.get("key") == "TwoViews" else None
    if strong is None or data is None:
        return
    at = (*stage.path, "train_data_loader", "dataset_wrapper", "kwargs", "strong")
    if normalisation(data) != normalisation_in(strong):
        findings.warning(
            "the strong view is normalised in another way than the weak one: give both the same Normalize", *at
        )
    if next(_random_transforms(strong), None) is None:
        findings.warning("nothing of the strong view is random: add a random transform, such as RandomAffine", *at)


def check_test(findings: Findings, built: Mapping[str, Any]) -> None:
    """Add what is seldom meant of the test."""
    section = (built.get("test") or {}).get("test_data_loader")
    if not section:
        findings.warning("there is no test section: the student is tested on the validation data")
        return
    loaders = [stage.section.get("train_data_loader") or {} for stage in all_stages(built)]
    trained = [x["dataset_id"] for x in loaders if x.get("dataset_id")]
    trained_on = section["dataset_id"] if section["dataset_id"] in trained else next(iter(trained), None)
    if not any(section is stage.section.get("val_data_loader") for stage in all_stages(built)):
        _check_measured(findings, built, section, ("test", "test_data_loader"), trained_on)


def _check_measured(
    findings: Findings, built: Section, section: Section, at: tuple[str, ...], trained_on: str | None
) -> None:
    """Add what makes the accuracy over a loader another one than is meant."""
    if section["dataset_id"] == trained_on:
        findings.error("accuracy would be measured on the training images: name another dataset_id", *at, "dataset_id")
    pair = training_and_measured(built, trained_on, section["dataset_id"])
    if pair is not None:
        check_shared_images(findings, *pair, at)
    if _kind(section) is RandomSampler:
        findings.warning("images to test on need no random order: use SequentialSampler", *at, "sampler")
    found = next(_random_transforms(transform_of(built["datasets"][section["dataset_id"]])), None)
    if found is not None and section["dataset_id"] != trained_on:
        findings.warning(
            f"images to test on are changed at random by {found}: give their data set a transform without it",
            *at,
            "dataset_id",
        )
    ways = [normalisation(built["datasets"].get(key)) for key in (trained_on, section["dataset_id"])]
    if trained_on is not None and ways[0] != ways[1]:
        there = [f"mean {way[0]}, std {way[1]}" if way else "not normalised" for way in ways]
        findings.warning(
            f"images to test on are {there[1]}, training images {there[0]}: give both the same Normalize",
            *at,
            "dataset_id",
        )
    if (section.get("kwargs") or {}).get("drop_last"):
        findings.warning("drop_last leaves images out of the accuracy: remove it", *at, "kwargs", "drop_last")


def _kind(section: Section) -> Any:
    return (section.get("sampler") or {}).get("class_or_func")


def _random_transforms(whole: Any) -> Iterator[str]:
    """Yield the names of the random steps of a transform."""
    for transform in single_transforms(whole):
        name = type(transform).__name__
        if name.startswith("Random") or name in RANDOM_TRANSFORMS:
            yield name


def whole(data: Any) -> Any:
    """Return the data set inside subsets and torchdistill's wrappers; of a concatenation, the first part's.

    Example:
        >>> import torch
        >>> from torch.utils.data import Subset, TensorDataset
        >>> data = TensorDataset(torch.arange(3))
        >>> whole(Subset(Subset(data, [0, 1]), [1])) is data
        True
    """
    return base_datasets(data)[0]


def training_data(stage: Stage, loader: DataLoader) -> Any:
    """Return the data set that a stage trains on, without the loader's wrapper where the stage names it."""
    named = (stage.section.get("train_data_loader") or {}).get("dataset_id")
    return whole(stage.built["datasets"][named] if named is not None else loader.dataset)
