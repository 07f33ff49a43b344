"""Build what analyses work on: the config's models with their checkpoints, and its test images."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

from .._checks import check_whole
from .._errors import ConfigError
from ..config.build import build_config, build_models, build_test_loader, evaluation_teacher
from ..config.config import Config
from ..config.validate import stages
from ..data.inside import base_datasets
from ..data.loading import batches
from ..data.unaugmented import transform_holder, unaugmented
from ..host.lakd.anatomy import declare_torchvision_resnet
from ..host.lakd.teacher import model_inside
from ..host.model_sections import model_title
from ..models import load_checkpoint
from ..models.teacher_input import input_of
from ..runtime.checkpoint import BEST
from ..runtime.distributed import Processes
from ..runtime.seed import seed_everything
from ..runtime.tasks import DETECTION, Task, task_of
from .base import TEACHER, Study, Subject

SEED_FOLDER = re.compile(r"seed\d+")
BATCH = 128
"""Images in a batch where the config's loader has a batch sampler."""


def named_runs(checkpoints: Sequence[str]) -> dict[str, Path]:
    """Return name -> path of ``--checkpoint NAME=FILE`` or ``FILE``; the folder names a ``best.pt``.

    Raises:
        ConfigError: on a file that does not exist, or two of one name.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "kd", "seed0", "best.pt")
        ...     file.parent.mkdir(parents=True)
        ...     file.touch()
        ...     list(named_runs([str(file), f"again={file}"]))
        ['kd', 'again']
    """
    found: dict[str, Path] = {}
    for text in checkpoints:
        path = Path(text).expanduser()
        name, equals, rest = text.partition("=")
        if equals and not path.exists():
            path = Path(rest).expanduser()
        else:
            name = _name_of(path)
        if "*" in path.name and not path.exists():
            found |= _of_epochs(text, name if equals else _name_of(path.parent), path)
            continue
        if not path.exists():
            raise ConfigError(f"--checkpoint {text}: {path} does not exist; give NAME=FILE or FILE")
        if not name or name == TEACHER or name in found:
            rule = "is empty" if not name else "stands for the config's teacher" if name == TEACHER else "is taken"
            raise ConfigError(f"--checkpoint {text}: the name {name!r} {rule}; write OTHER_NAME={path}")
        found[name] = path
    return found


def _of_epochs(text: str, run: str, pattern: Path) -> dict[str, Path]:
    """Return the files of a pattern such as ``runs/kd/seed0/epoch-*.pt``, in the order of their numbers."""
    files = sorted(pattern.parent.glob(pattern.name), key=lambda file: [int(n) for n in re.findall(r"\d+", file.stem)])
    if not files:
        raise ConfigError(f"--checkpoint {text}: no file fits {pattern}; `kd-plugins train --keep-every N` writes them")
    return {f"{run} {file.stem}": file for file in files}


def _name_of(path: Path) -> str:
    place = path.resolve()
    if place.is_file():
        if place.name != BEST:
            return place.stem
        place = place.parent
    return place.parent.name if SEED_FOLDER.fullmatch(place.name) else place.name


def build_study(
    config: Config,
    procs: Processes,
    *,
    runs: Mapping[str, Path],
    images: int | None = None,
    seed: int = 0,
) -> Study:
    """Build a config's teacher, one student per checkpoint, and the loader of the chosen test images.

    Raises:
        ConfigError: without a test set, or as the config or a checkpoint is wrong.
    """
    seed_everything(seed)
    built = build_config(config)
    whole, student, section = build_models(config, built, procs)
    loader = build_test_loader(built, procs)
    if loader is None:
        raise ConfigError(f"{config.path}: the config has no test set; add test.test_data_loader")
    loader, chosen = chosen_images(loader, images, seed)
    task = task_of(loader)
    example = _first_images(loader, task).to(procs.device)
    teacher: Subject | None = None
    students = []
    if whole is not None:
        title = model_title(built["models"]["teacher_model"])
        teacher = subject(TEACHER, title, evaluation_teacher(built, whole, procs), example)
    title = model_title(section)
    alone = {"models": {name: part for name, part in built["models"].items() if name != "teacher_model"}}
    for number, (name, path) in enumerate(runs.items()):
        # Students differ in their weights only: the config's section builds each anew.
        model = student if number == 0 else build_models(config, alone, procs)[1]
        weights = path / BEST if path.is_dir() else path
        if path.is_dir() and not weights.is_file():
            raise ConfigError(f"--checkpoint {path}: the folder has no {BEST}; name a run folder or a file of weights")
        load_checkpoint(model, weights)
        students.append(subject(name, title, model, example, weights))
    # Images with boxes have no attribute `transform`.
    named = base_datasets(loader.dataset)[0] if task is DETECTION else transform_holder(loader.dataset)
    return Study(
        config, built, procs, seed, runs, teacher, tuple(students), loader, chosen,
        classes=[str(name) for name in getattr(named, "classes", None) or []],
        data=_data_name(built), task=task, images_wanted=images,
    )  # fmt: skip


def subject(name: str, title: str, model: nn.Module, images: Tensor, checkpoint: Path | None = None) -> Subject:
    """Return a model to analyse, given one batch of images."""
    inside = model_inside(model)
    declare_torchvision_resnet(inside)
    for part in dict.fromkeys((model, inside)):
        own = input_of(part)
        images = images if own is None else own(images)
    return Subject(name, title, model, inside, (images.shape[-2], images.shape[-1]), checkpoint)


def chosen_images(loader: DataLoader, images: int | None, seed: int) -> tuple[DataLoader, list[int]]:
    """Return a loader of the first ``images`` of a seeded permutation, or of all in their order, and their indices."""
    total = len(loader.dataset)  # type: ignore[arg-type]
    if images is None:
        return loader, list(range(total))
    check_whole("--images", images, 1)
    chosen = drawn(total, images, seed).tolist()
    few = DataLoader(
        Subset(loader.dataset, chosen), batch_size=loader.batch_size or BATCH, num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
    )  # fmt: skip
    return few, chosen


def drawn(total: int, count: int | None, seed: int) -> Tensor:
    """Return all rows in order, or ``count`` of them, drawn by the seed."""
    if count is None:
        return torch.arange(total)
    return torch.randperm(total, generator=torch.Generator().manual_seed(seed))[:count]


def training_set(study: Study) -> tuple[Any, Any]:
    """Return name and data set of the last stage's training images; "" and None without any."""
    stage = list(stages(study.built["train"]).values())[-1]
    name = (stage.get("train_data_loader") or {}).get("dataset_id", "")
    return name, study.built["datasets"].get(name)


def training_loader(study: Study) -> DataLoader:
    """Return a loader of the training images with the transform of the test images, and so without augmentation.

    Raises:
        ConfigError: if the config has no training images, or their transform cannot be replaced.
    """
    train = training_set(study)[0]
    try:
        images = unaugmented(study.built["datasets"], train, study.data, place="train")[0]
    except ValueError as error:
        raise ConfigError(f"{study.config.path}: {error}") from error
    return DataLoader(images, batch_size=(study.loader and study.loader.batch_size) or BATCH)


def _first_images(loader: DataLoader, task: Task) -> Tensor:
    images = next((batch[0] for batch in batches(loader)), None)
    if images is None:
        raise ConfigError("the test set is empty")
    if task is DETECTION:  # a list of images
        return images[0][None]
    if not isinstance(images, Tensor) or images.ndim != 4:
        shown = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise ConfigError(f"analyses need batches of images (B, c, H, W), found {shown}")
    return images[:1]


def _data_name(built: Mapping[str, Any]) -> str:
    """Return the name of the set that ``build_test_loader`` takes."""
    section = (built.get("test") or {}).get("test_data_loader")
    section = section or list(stages(built["train"]).values())[-1].get("val_data_loader") or {}
    return str(section.get("dataset_id"))
