"""Fit of the letKD statistics of a distillation box, from the box's own teacher and data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torchdistill.common.constant import def_logger
from torchdistill.common.module_util import check_if_fsdp_wrapped, check_if_wrapped, get_module
from torchdistill.datasets.wrapper import BaseDatasetWrapper

from ..._checks import suggestion
from ...data.unaugmented import unaugmented
from ...models.fingerprint import fingerprint, tensors_fingerprint
from ...models.teacher_input import TeacherInput
from ...statistics.artefact import HOW_TO_FIT, StatisticsError, check_statistics, read_tensors
from ...statistics.job import Job, features_of
from ...statistics.kept_random import random_numbers_kept
from ...statistics.teacher_features import TeacherFeatures
from .loss import AUTO, LetKDLoss
from .patience import main_first

FOLDER = Path("runs") / "statistics"
STATISTICS_ARE_THERE = "statistics_are_there"
"""Attribute that marks a box whose statistics are already fitted and checked."""
SEED = 0
PLAIN = (str, int, float, bool, tuple, list, type(None))

logger = def_logger.getChild(__name__)


def fit_for_box(box: Any, terms: Mapping[str, nn.Module]) -> None:
    """Fit and check the statistics of a box before its first epoch; later calls do nothing.

    A letKD term with ``statistics: auto`` gets a file in ``runs/statistics``. Its name has a hash of the teacher's
    weights, its layer, the data and all sizes. It is fitted unless it exists. A file that a term names must belong to
    the box's teacher. In distributed training rank 0 fits and the other ranks wait. The random state, the teacher and
    the captured tensors are restored.
    """
    if getattr(box, STATISTICS_ARE_THERE, False):
        return
    waiting = list(_waiting(terms))
    for source in {loss.loss.source for _, loss in waiting} - {AUTO}:
        _check_teacher(box, source)
    automatic = [(place, loss) for place, loss in waiting if loss.loss.source == AUTO]
    if not automatic:
        return
    try:
        with random_numbers_kept(box.device), _repeatable():
            paths = main_first(lambda: _fit(box, automatic))
    finally:
        for captured in box.teacher_io_dict.values():
            captured.clear()
    for (_, loss), path in zip(automatic, paths, strict=True):
        loss.loss.source = path


def _waiting(terms: Mapping[str, nn.Module]) -> Iterator[tuple[str, Any]]:
    """Yield the place and loss of each letKD term that has not read its file yet."""
    for name, term in terms.items():
        for part in term.modules():
            if isinstance(part, LetKDLoss) and part.loss.loss is None:
                yield f"the criterion's term {name}", part


@contextmanager
def _repeatable() -> Iterator[None]:
    """Make cuDNN deterministic, as ``kd-plugins fit`` does."""
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark, cudnn.deterministic
    cudnn.benchmark, cudnn.deterministic = False, True
    try:
        yield
    finally:
        cudnn.benchmark, cudnn.deterministic = before


def _check_teacher(box: Any, source: str) -> None:
    """Raise unless a file belongs to the box's teacher. A trained, cast or sharded teacher is not checked."""
    if box.teacher_updatable or box.accelerator is not None or check_if_fsdp_wrapped(box.teacher_model):
        return
    metadata = read_tensors(source)[1]
    if "teacher_weights" in metadata:
        weights = fingerprint(_inside(box.org_teacher_model))
        check_statistics(metadata, {"teacher_weights": weights}, source=source)


def _fit(box: Any, losses: list[tuple[str, Any]]) -> list[str]:
    """Find or fit the files; return the path for each loss."""
    own, teacher = _inside(box.org_teacher_model), _inside(box.teacher_model)
    if check_if_fsdp_wrapped(teacher):
        raise StatisticsError(
            f"statistics: auto does not support a teacher that is sharded over processes; run `{HOW_TO_FIT} "
            "--out FILE` and set statistics: FILE"
        )
    name, weights = type(own).__name__, fingerprint(own)
    told = {"teacher": name, "teacher_weights": weights, "teacher_input": _input(teacher, own)}
    jobs: list[Job] = []
    chosen = []
    for place, loss in losses:
        stream, described = _stream(box, teacher, place, loss)
        fitted, about = loss.loss, {**told, "dataset": described}
        layer, io = fitted.wanted["layer"], fitted.wanted["io"]
        for job in [*jobs, Job(FOLDER, automatic=True, seed=SEED)]:
            if not job.add(fitted.kind, stream, fitted.settings, told=about, layer=layer, io=io):
                break
        if job not in jobs:
            jobs.append(job)
        chosen.append(job)
    for job in jobs:
        text = json.dumps({**job.expected, "seed": str(SEED)}, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        job.path = FOLDER / f"{name}_{digest}.safetensors"
        logger.info(
            "letKD's statistics are %s %s; to fit them beforehand run `%s --out FILE` and set statistics: FILE",
            "read from" if job.path.is_file() else "fitted into",
            job.path,
            HOW_TO_FIT,
        )
        job.fit_unless_there()
    return [str(job.path) for job in chosen]


def _stream(box: Any, teacher: nn.Module, place: str, loss: Any) -> tuple[TeacherFeatures, str]:
    fitted, path = loss.loss, loss.loss.wanted["layer"]
    loader = box.train_data_loader
    names = _dataset_name(box, loader), _dataset_name(box, box.val_data_loader)
    try:
        dataset, described = unaugmented(box.dataset_dict, *names, named=fitted.fit_dataset_id, place=place)
        stream = features_of(
            teacher, _layer(box, teacher, path), dataset, io=fitted.wanted["io"], map_size=fitted.map_size, seed=SEED,
            batch_size=loader.batch_size or 64, num_workers=loader.num_workers, device=box.device, progress=True,
        )  # fmt: skip
    except (ValueError, TypeError, RuntimeError) as error:
        text = str(error)
        raise StatisticsError(text if place in text else f"{place}: {text}") from error
    return stream, described


def _layer(box: Any, teacher: nn.Module, path: str) -> nn.Module:
    # A teacher redesigned by the config keeps the original's modules, and the config uses the original paths.
    for model in (teacher, _inside(box.org_teacher_model)):
        if hasattr(model, path.partition(".")[0]):
            layer = get_module(model, path)
            if isinstance(layer, nn.Module):
                return layer
    names = [name for name, _ in teacher.named_modules() if name]
    raise StatisticsError(f"the teacher has no module {path!r}; {suggestion(path, names)}")


def _dataset_name(box: Any, loader: Any) -> Any:
    """Return the name of a loader's data set; None if it is not in the config."""
    dataset = getattr(loader, "dataset", None)
    while isinstance(dataset, BaseDatasetWrapper):
        dataset = dataset.org_dataset
    return next((name for name, known in box.dataset_dict.items() if known is dataset), None)


def _inside(model: nn.Module) -> nn.Module:
    """Return the model inside DataParallel or DistributedDataParallel."""
    inside: Any = model.module if check_if_wrapped(model) and not check_if_fsdp_wrapped(model) else model
    return inside


def _input(teacher: nn.Module, own: nn.Module) -> str:
    """Return a description of the teacher's input processing: the settings and buffers of its wrapper and parts."""
    prepares = [module for module in teacher.modules() if isinstance(module, TeacherInput)]
    if teacher is own and not prepares:
        return "the batch as it is"
    settings = []
    for part in prepares if teacher is own else [teacher, *prepares]:
        own_values = {name: value for name, value in vars(part).items() if name[0] != "_" and name != "training"}
        settings.append({name: value for name, value in own_values.items() if isinstance(value, PLAIN)})
    of_model = {id(tensor) for tensor in own.buffers()} - {id(t) for part in prepares for t in part.buffers()}
    buffers = tensors_fingerprint((name, t) for name, t in teacher.named_buffers() if id(t) not in of_model)
    return f"{type(teacher).__name__} {json.dumps(settings, sort_keys=True, default=str)} {buffers[:12]}"
