"""Assign the positions of some test images to the sub-classes or centres of a letKD term."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from .._errors import ConfigError
from .._tables import text_table
from ..config.config import Config
from ..data.inside import normalisation
from ..data.unaugmented import transform_holder
from ..fitting.fit import fit_jobs
from ..fitting.terms import letkd_terms
from ..losses import soft_assignment
from ..runtime.distributed import Processes
from ..runtime.run_names import STATISTICS
from ..statistics.artefact import IntermediateStatistics, StatisticsError, load_statistics, part_of
from ..statistics.clustering.subclasses import nearest_of_own_class
from ..statistics.teacher_features import TeacherFeatures
from .drawing import displayed
from .passes import evaluating

CLASSES, IMAGES = 4, 4


@dataclass(frozen=True)
class Assignments:
    """Assigned sub-classes or centres for every position of some images.

    The kind ``"intermediate"`` assigns the nearest sub-class of the image's own class, ``"penultimate"`` the centre
    with the largest soft assignment.
    """

    kind: str
    layer: str  # path of the teacher's layer
    images: Tensor  # images with values from 0 to 1, shape (N, 3, h, w), grouped by class
    labels: Tensor  # labels of the images, shape (N,)
    names: dict[int, str]  # names of the shown classes, by label
    assigned: Tensor  # index of the sub-class (over all classes) or centre, shape (N, H, W)
    subclasses: int | None  # S, sub-classes per class; None for centres
    counts: Tensor  # number of positions per shown class and sub-class or centre, shape (len(names), C * S or K)
    targets: Tensor  # mean target of the student over these positions, same shape
    agreement: tuple[float, ...] | None  # share of positions, per class, where the student's highest score is assigned
    models: tuple[str, str] = ("student", "teacher")  # names of student and teacher

    def own_share(self, row: int) -> float:
        """Return the mass of a shown class's mean target on its own sub-classes."""
        if self.subclasses is None:
            return float("nan")
        start = list(self.names)[row] * self.subclasses
        return self.targets[row, start : start + self.subclasses].sum().item()


def show_subclasses(
    config: Config,
    built: Mapping[str, Any],
    teacher: nn.Module | None,
    student: nn.Module,
    dataset: Any,
    procs: Processes,
    *,
    checkpoint: str | Path,
    seed: int = 0,
) -> Assignments:
    """Assign the positions of some test images as the config's letKD term does.

    The term is the first of kind ``intermediate``, else the first of kind ``penultimate``. ``dataset`` returns (image,
    class index), and ``seed`` chooses the images. With ``statistics: auto``, the statistics are beside ``checkpoint``,
    the student's.

    Raises:
        ValueError: in several processes, without a letKD term, or if its statistics are missing or do not match.
    """
    if procs.distributed:
        raise ConfigError("subclasses must run in one process: run it without torchrun")
    terms = letkd_terms(config, built)
    if not terms:
        raise ConfigError(f"{config.path}: subclasses needs a LetKDLoss, but the criterion has none")
    term = next((term for term in terms if term.kind == "intermediate"), terms[0])
    auto = Path(checkpoint).expanduser().parent / STATISTICS
    (job,) = fit_jobs(config, built, teacher, [term], procs, auto=auto, seed=seed, verbose=False)
    if job.automatic and not job.path.is_file():
        raise StatisticsError(
            f"subclasses: with statistics: auto, the statistics are expected beside the checkpoint, but "
            f"{job.path} does not exist; create it with `kd-plugins fit {config.path} --out {job.path}`"
        )
    job.check()
    images, labels = _examples(dataset, seed=seed)
    maps = _teacher_maps(job.requests[term.kind].stream, images, labels)
    part = part_of(load_statistics(job.path), term.kind, source=job.path)
    names = _names(dataset, labels)
    rows = (labels == torch.tensor(list(names))[:, None]).to(maps.dtype)
    if isinstance(part, IntermediateStatistics):
        assigned = nearest_subclasses(maps, labels, part, subclasses=term.settings.subclasses)
        counts = _counts(assigned, rows, len(part.score_table))
        told = counts @ part.score_table.to(counts)
    else:
        soft = soft_assignment(maps, part.centres, sharpness=term.kwargs.get("sharpness", 1.0))
        assigned = soft.argmax(1)
        counts = _counts(assigned, rows, len(part.centres))
        told = rows @ soft.sum((2, 3))
    path = (term.kwargs.get("student_module_path") or f"kd_layer.{term.kind}.scores").removeprefix("student_model.")
    agrees = _agrees(student, path, images.to(procs.device), assigned, counts.shape[1])
    positions = counts.sum(1)
    return Assignments(
        kind=term.kind,
        layer=term.layer,
        images=displayed(images, normalisation(dataset)),
        labels=labels,
        names=names,
        assigned=assigned,
        subclasses=term.settings.subclasses if term.kind == "intermediate" else None,
        counts=counts.long(),
        targets=told / positions[:, None],
        agreement=None if agrees is None else tuple((rows @ agrees.flatten(1).to(rows).sum(1) / positions).tolist()),
    )


def nearest_subclasses(maps: Tensor, labels: Tensor, part: IntermediateStatistics, *, subclasses: int) -> Tensor:
    """Return the nearest sub-class (0..C * S - 1) of the image's class at every position, shape (N, H, W).

    Args:
        maps: feature maps of the teacher, shape (N, d, H, W).
        labels: classes of the images, shape (N,).
        part: statistics of that layer.
        subclasses: S, sub-classes per class.

    Example:
        >>> centres = torch.tensor([[0.0], [2.0], [0.0], [9.0]])
        >>> none = torch.zeros(4, 4)
        >>> part = IntermediateStatistics(torch.eye(1), torch.ones(1), centres, torch.ones(4), centres, none)
        >>> nearest_subclasses(torch.tensor([[[[0.5, 7.0]]]]), torch.tensor([1]), part, subclasses=2)
        tensor([[[2, 3]]])
    """
    projected = maps.flatten(2).transpose(1, 2) @ part.projection.to(maps).T + part.projection_bias.to(maps)
    centres = part.subclass_centres.to(maps).unflatten(0, (-1, subclasses))
    alive = (part.subclass_counts > 0).unflatten(0, (-1, subclasses))
    return nearest_of_own_class(projected, labels, centres, alive).unflatten(1, tuple(maps.shape[2:]))


def assignment_report(found: Assignments) -> str:
    """Return the assignments as a table.

    Example:
        >>> found = Assignments(
        ...     "intermediate", "layer2", torch.zeros(1, 3, 4, 4), torch.tensor([1]), {1: "cat"},
        ...     torch.tensor([[[2, 3]]]), 2, torch.tensor([[0, 0, 1, 1]]), torch.tensor([[0.1, 0.2, 0.3, 0.4]]), (0.5,),
        ... )
        >>> print(assignment_report(found))
        class  images  positions  sub-classes  target on own class  student agrees
        cat         1          2            2               70.0 %          50.0 %
    """
    return "\n".join(text_table(assignment_rows(found)))


def assignment_rows(found: Assignments) -> list[list[str]]:
    """Return the rows of :func:`assignment_report`, with the heads first."""
    head = ["class", "images", "positions", "sub-classes" if found.subclasses else "centres"]
    head += ["target on own class"] if found.subclasses is not None else []
    head += ["student agrees"] if found.agreement is not None else []
    lines = [head]
    for row, (label, name) in enumerate(found.names.items()):
        counts = found.counts[row]
        line = [name, str(int((found.labels == label).sum())), str(int(counts.sum())), str(int((counts > 0).sum()))]
        if found.subclasses is not None:
            line.append(f"{100 * found.own_share(row):.1f} %")
        if found.agreement is not None:
            line.append(f"{100 * found.agreement[row]:.1f} %")
        lines.append(line)
    return lines


def _examples(dataset: Any, *, seed: int) -> tuple[Tensor, Tensor]:
    """Return images and labels, sorted by class, of the classes that first fill up in a random order."""
    found: dict[int, list[int]] = {}
    full = 0
    for number in torch.randperm(len(dataset), generator=torch.Generator().manual_seed(seed)).tolist():
        own = found.setdefault(_image_and_label(dataset[number])[1], [])
        if len(own) < IMAGES:
            own.append(number)
            full += len(own) == IMAGES
        if full == CLASSES:
            break
    # Images are read again, because keeping those of all classes seen so far could take much memory.
    chosen = sorted(sorted(found, key=lambda label: -len(found[label]))[:CLASSES])
    pairs = [_image_and_label(dataset[number]) for label in chosen for number in found[label]]
    if len({image.shape for image, _ in pairs}) != 1:
        raise ConfigError("subclasses needs test images of equal size; resize them in the test transform")
    return torch.stack([image for image, _ in pairs]), torch.tensor([label for _, label in pairs])


def _image_and_label(item: Any) -> tuple[Tensor, int]:
    try:
        image, label = item[0], operator.index(item[1])
    except (TypeError, IndexError, KeyError) as error:
        raise ConfigError("subclasses needs a test set of (image, class index)") from error
    if not isinstance(image, Tensor) or image.ndim != 3:
        raise ConfigError(f"subclasses needs a test set of images as tensors (c, h, w), found {type(image).__name__}")
    return image, label


def _teacher_maps(known: Any, images: Tensor, labels: Tensor) -> Tensor:
    """Return the images' feature maps at the layer of the statistics, shape (N, d, H, W)."""
    stream = TeacherFeatures(
        known.teacher, known.layer, TensorDataset(images, labels), io=known.io, map_size=known.map_size,
        batch_size=len(images), device=known.device,
    )  # fmt: skip
    (block,) = stream.blocks("sub-classes")
    back = torch.tensor(list(stream.loader.sampler)).argsort()
    features = block.features.cpu()[back]
    return features.transpose(1, 2).unflatten(2, (stream.shape.height, stream.shape.width)).clone()


def _names(dataset: Any, labels: Tensor) -> dict[int, str]:
    known = getattr(transform_holder(dataset), "classes", None) or []
    return {label: str(known[label]) if label < len(known) else str(label) for label in labels.unique().tolist()}


def _counts(assigned: Tensor, rows: Tensor, total: int) -> Tensor:
    per_image = [image.flatten().bincount(minlength=total) for image in assigned]
    return rows @ torch.stack(per_image).to(rows)


@torch.no_grad()
def _agrees(student: nn.Module, path: str, images: Tensor, assigned: Tensor, total: int) -> Tensor | None:
    """Return where the student's highest score is the assigned one; None if ``path`` has no such scores."""
    module = dict(student.named_modules()).get(path)
    if module is None:
        return None
    kept: list[Any] = []
    handle = module.register_forward_hook(lambda _module, _args, output: kept.append(output))
    try:
        with evaluating([student]):
            student(images)
    finally:
        handle.remove()
    scores = kept[0] if kept else None
    if not isinstance(scores, Tensor) or scores.shape != (len(assigned), total, *assigned.shape[1:]):
        return None
    return scores.argmax(1).cpu() == assigned
