"""What a config says that is seldom meant, seen without running its models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import RandomSampler, SequentialSampler
from torchvision import transforms as vision

from ..engine.validate import stages
from ..host.teacher import FrozenTeacher
from .findings import Findings

RANDOM = tuple(
    kind
    for kind in vars(vision).values()
    if isinstance(kind, type)
    and (kind.__name__.startswith("Random") or kind.__name__ in ("ColorJitter", "AutoAugment"))
)
CHECKPOINT_KEYS = ("src_ckpt", "checkpoint")


def check_sections(findings: Findings, built: Mapping[str, Any], *, weights: bool) -> None:
    """Add what is found in the sections of a valid config.

    Args:
        findings: of the config; they grow.
        built: the config's objects.
        weights: whether the teacher needs weights, and checkpoint files must exist.
    """
    if weights:
        for name, section in built["models"].items():
            _checkpoints(findings, section, ("models", name))
        _random_teacher(findings, built["models"].get("teacher_model"))
    for name, stage in stages(built["train"]).items():
        path = ("train", name) if name else ("train",)
        for rule in (_teacher, _weights, _schedule, _loaders):
            rule(findings, built, stage, path)
    if built.get("test") is None:
        findings.warning("there is no test section: the student is tested on the validation data", "train")


def _checkpoints(findings: Findings, section: Any, path: tuple[object, ...]) -> None:
    """Find checkpoints that are no files, also those of models inside a model's keywords."""
    if isinstance(section, (list, tuple)):
        for index, item in enumerate(section):
            _checkpoints(findings, item, (*path, index))
    if not isinstance(section, Mapping):
        return
    for key, value in section.items():
        if key in CHECKPOINT_KEYS and isinstance(value, str) and not value.startswith(("http://", "https://")):
            if not Path(value).expanduser().is_file():
                findings.error(f"{value} does not exist: put the weights there, or name their file", *path, key)
        else:
            _checkpoints(findings, value, (*path, key))


def _random_teacher(findings: Findings, section: Mapping[str, Any] | None) -> None:
    if section is not None and not any(section.get(k) or (section.get("kwargs") or {}).get(k) for k in _WEIGHTS):
        findings.warning(
            "the teacher has random weights: give it src_ckpt, or checkpoint or pretrained in its kwargs",
            "models",
            "teacher_model",
        )


def _teacher(findings: Findings, built: Mapping[str, Any], stage: Mapping[str, Any], path: tuple[str, ...]) -> None:
    section = built["models"].get("teacher_model")
    if section is None:
        return
    side = stage.get("teacher") or {}
    if side.get("requires_grad", True):
        findings.error("the teacher would be trained: add requires_grad: False", *path, "teacher")
    wrapper = (side.get("auxiliary_model_wrapper") or {}).get("key")
    frozen = (section.get("kwargs") or {}).get("frozen") or wrapper == FrozenTeacher.__name__
    if not frozen and stage.get("pre_epoch_process") != "kd_pre_epoch":
        findings.error(
            "nothing puts the teacher into eval mode, and its batch norms would drift: add pre_epoch_process: "
            "kd_pre_epoch, or frozen: True to the teacher's kwargs",
            *path,
            "pre_epoch_process" if "pre_epoch_process" in stage else "teacher",
        )


_WEIGHTS = ("src_ckpt", "checkpoint", "pretrained", "weights", "repo_or_dir", "teachers")


def _weights(findings: Findings, _built: Mapping[str, Any], stage: Mapping[str, Any], path: tuple[str, ...]) -> None:
    terms = (stage["criterion"].get("kwargs") or {}).get("sub_terms") or {}
    at = (*path, "criterion", "kwargs", "sub_terms")
    if not terms:
        findings.error("the criterion has no terms: add some under kwargs.sub_terms", *path, "criterion")
    for name, term in terms.items():
        if term["weight"] == 0:
            findings.warning("a term of weight 0 trains nothing: remove it", *at, name, "weight")
        elif term["weight"] < 0:
            findings.warning(f"a negative weight ({term['weight']}) drives the term up", *at, name, "weight")


def _schedule(findings: Findings, built: Mapping[str, Any], stage: Mapping[str, Any], path: tuple[str, ...]) -> None:
    optimizer = stage.get("optimizer") or {}
    if not optimizer:
        findings.error("there is no optimizer, so nothing is trained: add one", *path)
        return
    if (optimizer.get("kwargs") or {}).get("lr") == 0:
        findings.error("the learning rate is 0: nothing is trained", *path, "optimizer", "kwargs", "lr")
    scheduler, epochs = stage.get("scheduler") or {}, stage["num_epochs"]
    kwargs, at = scheduler.get("kwargs") or {}, (*path, "scheduler", "kwargs")
    by_step = bool(scheduler.get("scheduling_step"))
    steps = epochs * _steps_an_epoch(built, stage) if by_step else epochs
    unit = "steps" if by_step else "epochs"
    late = [m for m in kwargs.get("milestones") or () if m >= steps]
    if late:
        findings.warning(
            f"milestones {late} lie after the end of the training ({steps} {unit}): the rate never gets there",
            *at,
            "milestones",
        )
    if "T_max" in kwargs and kwargs["T_max"] != steps:
        findings.warning(
            f"T_max is {kwargs['T_max']}, the training has {steps} {unit}: the rate does not end at its lowest",
            *at,
            "T_max",
        )
    if scheduler.get("key") == "OneCycleLR":
        total = kwargs.get("total_steps") or (kwargs.get("epochs") or 0) * (kwargs.get("steps_per_epoch") or 0)
        if not by_step:
            findings.error("OneCycleLR goes by batches: add scheduling_step: 1", *path, "scheduler")
        elif total < steps:
            findings.error(f"OneCycleLR ends after {total} steps, the training has {steps}", *at)


def _steps_an_epoch(built: Mapping[str, Any], stage: Mapping[str, Any]) -> int:
    loader = stage.get("train_data_loader") or {}
    data, kwargs = built["datasets"].get(loader.get("dataset_id")), loader.get("kwargs") or {}
    size = kwargs.get("batch_size") or 1
    batches = len(data) // size if kwargs.get("drop_last") else -(-len(data) // size)
    return batches // ((stage.get("optimizer") or {}).get("grad_accum_step") or 1)


def _loaders(findings: Findings, built: Mapping[str, Any], stage: Mapping[str, Any], path: tuple[str, ...]) -> None:
    train, val = (stage.get(f"{name}_data_loader") or {} for name in ("train", "val"))
    at = (*path, "train_data_loader")
    if not train:
        findings.error("there is no train_data_loader: nothing is trained on", *path)
        return
    data = built["datasets"][train["dataset_id"]]
    size = (train.get("kwargs") or {}).get("batch_size")
    if isinstance(size, int) and (train.get("kwargs") or {}).get("drop_last") and len(data) < size:
        findings.error(
            f"{len(data)} images make no batch of {size}, and drop_last drops the rest: lower batch_size",
            *at,
            "kwargs",
            "batch_size",
        )
    if (train.get("sampler") or {}).get("class_or_func") is SequentialSampler:
        findings.warning("the training images come in one and the same order: use RandomSampler", *at, "sampler")
    if not val:
        findings.warning("there is no val_data_loader: the last epoch counts as the best", *path)
    tests = {"val_data_loader": (val, (*path, "val_data_loader"))}
    tests["test"] = ((built.get("test") or {}).get("test_data_loader") or {}, ("test", "test_data_loader"))
    for loader, where in tests.values():
        if not loader:
            continue
        if loader["dataset_id"] == train["dataset_id"]:
            findings.error("accuracy would be measured on the training images: name another dataset_id", *where)
        if (loader.get("sampler") or {}).get("class_or_func") is RandomSampler:
            findings.warning("images to test on need no random order: use SequentialSampler", *where, "sampler")
        found = next(_random_transforms(built["datasets"][loader["dataset_id"]]), None)
        if found is not None and loader["dataset_id"] != train["dataset_id"]:
            findings.warning(
                f"images to test on are changed at random by {found}: give their data set a transform without it",
                *where,
                "dataset_id",
            )
        if (loader.get("kwargs") or {}).get("drop_last"):
            findings.warning("drop_last leaves images out of the accuracy", *where, "kwargs", "drop_last")


def _random_transforms(data: Any) -> Iterator[str]:
    """Yield the names of random transforms of a data set, or of the one inside a subset."""
    while isinstance(data, torch.utils.data.Subset):
        data = data.dataset
    for transform in _flat(getattr(data, "transform", None)):
        if isinstance(transform, RANDOM):
            yield type(transform).__name__


def _flat(transform: Callable[..., Any] | None) -> Iterator[Any]:
    inner = getattr(transform, "transforms", None)
    if isinstance(inner, (list, tuple)):
        for item in inner:
            yield from _flat(item)
    elif transform is not None:
        yield transform


def normalisation(data: Any) -> tuple[list[float], list[float]] | None:
    """Return mean and standard deviation that a data set's transform normalises with, None where it does not."""
    while isinstance(data, torch.utils.data.Subset):
        data = data.dataset
    for transform in _flat(getattr(data, "transform", None)):
        if isinstance(transform, vision.Normalize):
            return [float(x) for x in transform.mean], [float(x) for x in transform.std]
    return None
