"""The teacher of a config, and the images that it takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .._errors import ConfigError, explain
from ..config.build import build_config, build_model, build_test_loader, frozen_wrapper, has_weights
from ..config.config import Config
from ..config.fake_data import with_fake_data
from ..config.keys import kwargs_of
from ..config.validate import stages
from ..data.fake_images import FakeImages
from ..data.inside import base_datasets, normalisation_in, single_transforms, transform_of
from ..data.loading import batches
from ..data.unaugmented import transform_holder
from ..host.model_sections import model_title, section_inside
from ..models import load_checkpoint
from ..models.logits import give_logits
from ..models.teacher_input import TeacherInput
from ..models.timm import pretrained_input
from ..runtime.distributed import Processes
from ..runtime.tasks import DETECTION, task_of

FROZEN = "frozen_teacher"
RESIZING = ("input_size", "interpolation", "antialias")


@dataclass(frozen=True)
class SynthesisTeacher:
    """A teacher and the images that its training used."""

    model: nn.Module  # returns logits for images in its own normalisation
    title: str  # its architecture
    mean: tuple[float, ...]  # of each channel of its images
    std: tuple[float, ...]  # of each channel
    size: tuple[int, int]  # height and width of the images
    classes: tuple[str, ...]  # names of the classes, where the config's images have them
    data: str  # the test set's name for `kd-plugins recipe`, which validates students; empty if it has none
    flips: bool  # whether training images are mirrored
    loader_mean: tuple[float, ...]  # mean that the config's loader subtracts; the student's
    loader_std: tuple[float, ...]  # standard deviation of the loader


def build_teacher(config: Config, processes: Processes, *, size: int | None = None) -> SynthesisTeacher:
    """Build a config's teacher without the wrapper that blocks its gradient.

    With ``size``, the height and width of the images, the config's images are not read.

    Raises:
        ConfigError: without a teacher, its weights or a normalisation, or as the config is wrong.
    """
    built = build_config(config if size is None else with_fake_data(config, weights=False))
    section = (built.get("models") or {}).get("teacher_model")
    if section is None:
        raise ConfigError(
            f"{config.path}: synthesize needs a teacher; the config has no models.teacher_model. "
            "`kd-plugins recipe kd --teacher T --student S` prints one that has"
        )
    if not has_weights(section):
        where = config.where("models", "teacher_model")
        raise ConfigError(
            f"{config.path}: the teacher has random weights: set src_ckpt, or checkpoint or pretrained in its kwargs, "
            f"at {where}"
        )
    settings = kwargs_of(frozen_wrapper(built))
    if section["key"] == FROZEN:
        # The model inside, because the whole maps batches from the student's normalisation to its own.
        settings = {**kwargs_of(section), **settings}
        section = {"src_ckpt": section.get("src_ckpt"), **section_inside(section)}
    model = build_model(config, "teacher_model", section, processes)
    if settings.get("logits") is not None:
        give_logits(model, settings["logits"])
    loader = build_test_loader(built, processes)
    if loader is None:
        raise ConfigError(f"{config.path}: the size of images is that of the test images; add test.test_data_loader")
    if task_of(loader) is DETECTION:
        raise ConfigError(f"{config.path}: synthesize is for classifiers; the config trains a detector")
    loaders = normalisation_in(transform_of(loader.dataset))
    mean, std = _normalisation(config, settings, model, loaders)
    if size is None:
        image = next(iter(batches(loader)))[0]
        height, width = image.shape[-2:]
    else:
        height = width = size
    found = SynthesisTeacher(
        _resizing(config, model, settings).to(processes.device).eval(), model_title(section), mean, std,
        (height, width), _classes(loader.dataset), _recipe_name(loader.dataset), _flips(built),
        *(tuple(values) for values in loaders or (mean, std)),
    )  # fmt: skip
    _try_out(config, found, processes.device)
    return found


def build_student(
    config: Config, path: Path, teacher: SynthesisTeacher, processes: Processes
) -> Callable[[Tensor], Tensor]:
    """Return a fixed student's logits as a function of the teacher's input.

    Raises:
        ConfigError: if the config has no student, or the checkpoint does not fit.
    """
    built = build_config(with_fake_data(config, weights=False))
    section = built["models"].get("student_model")
    if section is None:
        raise ConfigError(f"{config.path}: --student needs models.student_model in the config")
    model = build_model(config, "student_model", section, processes)
    load_checkpoint(model, path)
    model.eval().requires_grad_(False)
    mean, std, own_mean, own_std = (
        torch.tensor(values, device=processes.device)[:, None, None]
        for values in (teacher.mean, teacher.std, teacher.loader_mean, teacher.loader_std)
    )
    return lambda images: model((images * std + mean - own_mean) / own_std)


def _normalisation(
    config: Config, settings: Mapping[str, Any], model: nn.Module, loaders: tuple[list[float], list[float]] | None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the teacher's mean and std: the wrapper's, else those of timm's weights, else the loader's."""
    found = loaders
    if settings.get("student_mean") is not None:
        own = pretrained_input(model)
        known = (settings.get("mean") or (own and own.mean), settings.get("std") or (own and own.std))
        if all(known):
            found = known  # type: ignore[assignment]
    if found is None:
        where = config.where("train", "teacher")
        raise ConfigError(
            f"{config.path}: no normalisation found: add Normalize to the transform of the validation images, or "
            f"student_mean, student_std, mean and std to a FrozenTeacher at {where}"
        )
    mean, std = (tuple(float(value) for value in values) for values in found)
    return mean, std


def _resizing(config: Config, model: nn.Module, settings: Mapping[str, Any]) -> nn.Module:
    given = {name: settings[name] for name in RESIZING if settings.get(name) is not None}
    if "input_size" not in given:
        return model
    try:
        return nn.Sequential(TeacherInput(nn.Identity(), **given), model)
    except ValueError as error:
        raise ConfigError(f"{config.path}: {explain(error)}") from error


def _classes(dataset: Any) -> tuple[str, ...]:
    if isinstance(base_datasets(dataset)[0], FakeImages):  # its names are made up
        return ()
    return tuple(str(name) for name in getattr(transform_holder(dataset), "classes", None) or ())


def _recipe_name(dataset: Any) -> str:
    kind = type(base_datasets(dataset)[0])
    if kind.__module__.startswith("torchvision.datasets."):
        return kind.__name__.lower() if kind.__name__ in ("CIFAR10", "CIFAR100") else f"torchvision:{kind.__name__}"
    return {"Digits": "digits", "FashionMNIST": "fashion-mnist"}.get(kind.__name__, "")


def _flips(built: Mapping[str, Any]) -> bool:
    stage = list(stages(built["train"]).values())[-1]
    name = (stage.get("train_data_loader") or {}).get("dataset_id")
    transform = transform_of((built.get("datasets") or {}).get(name))
    return any(type(step).__name__ == "RandomHorizontalFlip" for step in single_transforms(transform))


def _try_out(config: Config, teacher: SynthesisTeacher, device: torch.device) -> None:
    """Run one image, so that a size that the teacher cannot take is found before the first step."""
    channels, (height, width) = len(teacher.mean), teacher.size
    try:
        with torch.no_grad():
            teacher.model(torch.zeros(1, channels, height, width, device=device))
    except (ValueError, RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"{config.path}: {teacher.title} cannot take images of {channels} x {height} x {width}: {explain(error)}; "
            "give the --size that it was trained with"
        ) from error
