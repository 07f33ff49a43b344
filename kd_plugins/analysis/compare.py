"""Compare a trained student with its teacher: predictions, and similarity of layers (CKA)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from .._checks import index_labels
from .._errors import ConfigError
from .._tables import text_table
from ..data.loading import batches
from ..host.lakd.alignment import teacher_points
from ..host.lakd.anatomy import Anatomy, anatomy
from ..host.lakd.teacher import model_inside
from ..metrics import MinibatchCKA, agreement, extracurricular_knowledge
from ..metrics.cka import gram
from ..models.teacher_input import input_of
from ..runtime.distributed import Processes
from .drawing import save_figure

LOGITS = "logits"


@dataclass(frozen=True)
class Comparison:
    """Similarity of a student and its teacher.

    Attributes:
        samples: number of images.
        agreement: fraction of images with the same prediction, from 0 to 1.
        teacher_wrong: number of images that the teacher gets wrong.
        extracurricular: fraction of these that the student gets right; NaN if there are none.
        student_layers: paths of the student's blocks in forward order, then ``"logits"``.
        teacher_layers: likewise for the teacher.
        cka: linear CKA, one row per student layer and one column per teacher layer.
        aligned: (row, column) of the student's stage ends and logits, each with the teacher layer at the same depth.
        models: names of student and teacher.
    """

    samples: int
    agreement: float
    teacher_wrong: int
    extracurricular: float
    student_layers: tuple[str, ...]
    teacher_layers: tuple[str, ...]
    cka: tuple[tuple[float, ...], ...]
    aligned: tuple[tuple[int, int], ...]
    models: tuple[str, str] = ("", "")


@torch.inference_mode()
def compare(student: nn.Module, teacher: nn.Module, loader: DataLoader, processes: Processes) -> Comparison:
    """Run both models over a loader and compare them.

    Args:
        student: returns logits (B, C).
        teacher: likewise, including its wrapper.
        loader: yields ``(batch, labels)``.
        processes: the processes of the run; there must be only one.

    Raises:
        ValueError: in several processes, or for a model without known blocks.
    """
    if processes.distributed:
        raise ConfigError("--compare-teacher needs all samples in one process: run it without torchrun")
    student.eval()
    teacher.eval()
    bare = model_inside(teacher)
    images = next(batches(loader))[0][:1].to(processes.device)
    sides = [_parts(student, images, "student"), _parts(bare, _as_seen(teacher, images), "teacher")]
    names = [(*side.blocks, LOGITS) for side in sides]
    cka = MinibatchCKA()
    logits: tuple[list[Tensor], list[Tensor]] = ([], [])
    truth: list[Tensor] = []
    bar = tqdm(batches(loader), total=len(loader), desc="comparison", leave=False, disable=None, unit="batch")
    with _collected(student, sides[0].blocks) as own, _collected(bare, sides[1].blocks) as other:
        for batch, targets, *_ in bar:
            batch = batch.to(processes.device, non_blocking=True)
            for model, out in zip((student, teacher), logits, strict=True):
                out.append(model(batch))
            own[LOGITS], other[LOGITS] = (gram(out[-1]) for out in logits)
            cka.update(*([kept[name] for name in side] for kept, side in zip((own, other), names, strict=True)))
            truth.append(index_labels(targets, batch=len(batch)).to(processes.device))
    answers = torch.cat(logits[0]), torch.cat(logits[1])
    labels = torch.cat(truth)
    return Comparison(
        samples=len(labels),
        agreement=agreement(*answers).item(),
        teacher_wrong=int((answers[1].argmax(1) != labels).sum()),
        extracurricular=extracurricular_knowledge(*answers, labels).item(),
        student_layers=names[0],
        teacher_layers=names[1],
        cka=tuple(tuple(row) for row in cka.value().tolist()),
        aligned=tuple(_aligned(*sides)),
    )


def comparison_report(found: Comparison) -> str:
    """Return a comparison as text.

    Example:
        >>> cka = ((0.75, 0.5), (0.25, 0.875))
        >>> layers = ("a", "logits"), ("b", "logits")
        >>> print(comparison_report(Comparison(10, 0.9, 4, 0.25, *layers, cka, ((0, 0), (1, 1)))))
        agreement with the teacher: 90.00 % of 10 images
        extracurricular knowledge:  25.00 % of the 4 that the teacher gets wrong
        <BLANKLINE>
        student  teacher  linear CKA
        a        b        0.750
        logits   logits   0.875
    """
    knowledge = "undefined: the teacher gets none wrong"
    if found.teacher_wrong:
        knowledge = f"{100 * found.extracurricular:.2f} % of the {found.teacher_wrong} that the teacher gets wrong"
    rows = [("student", "teacher", "linear CKA")]
    rows += [(found.student_layers[i], found.teacher_layers[j], f"{found.cka[i][j]:.3f}") for i, j in found.aligned]
    return "\n".join(
        [
            f"agreement with the teacher: {100 * found.agreement:.2f} % of {found.samples} images",
            f"extracurricular knowledge:  {knowledge}",
            "",
            *text_table(rows, left=(0, 1, 2)),
        ]
    )


def save_heat_map(found: Comparison, path: str | Path) -> None:
    """Write the CKA of all pairs of layers as a PNG file; dots mark the pairs in the table.

    Raises:
        ConfigError: if the file cannot be written.
    """
    # Imported here because matplotlib takes a second to import; a bare Figure avoids pyplot's global state.
    from matplotlib.figure import Figure

    rows, columns = len(found.student_layers), len(found.teacher_layers)
    figure = Figure(figsize=(2.6 + 0.26 * columns, 1.9 + 0.26 * rows), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(found.cka, vmin=0, vmax=1, cmap="magma", origin="lower", aspect="equal")
    down, across = zip(*found.aligned, strict=True)
    axes.scatter(across, down, s=14, color="white", edgecolor="black", lw=0.6)
    axes.set_xticks(range(columns), found.teacher_layers, rotation=90, fontsize=6)
    axes.set_yticks(range(rows), found.student_layers, fontsize=6)
    axes.set_xlabel(f"layers of the teacher\n{found.models[1]}".rstrip())
    axes.set_ylabel(f"layers of the student\n{found.models[0]}".rstrip())
    axes.set_title(f"{found.samples} images", fontsize=10)
    figure.colorbar(image, ax=axes, shrink=0.8, label="linear CKA")
    save_figure(figure, path, "heat map")


def _as_seen(teacher: nn.Module, images: Tensor) -> Tensor:
    """Return a batch as the model inside gets it, prepared by the wrapper and by the model itself."""
    for model in dict.fromkeys((teacher, model_inside(teacher))):
        own = input_of(model)
        images = images if own is None else own(images)
    return images


def _parts(model: nn.Module, images: Tensor, side: str) -> Anatomy:
    # Feature points are found outside inference mode, because inference tensors would remain in the model.
    with torch.inference_mode(False):
        parts = anatomy(model, list(images.shape[-2:]))
    if not parts.blocks:
        raise ConfigError(
            f"--compare-teacher: the blocks of the {side}, {type(model).__name__}, are unknown ({parts.reason})"
        )
    return parts


@contextmanager
def _collected(model: nn.Module, paths: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Collect the Gram matrix over samples at every path, which is smaller than the feature maps."""
    kept: dict[str, Tensor] = {}
    handles = []
    for path in paths:

        def keep(_module: nn.Module, _inputs: Any, output: Any, path: str = path) -> None:
            if not isinstance(output, Tensor):
                raise ConfigError(f"--compare-teacher: {path!r} must return one tensor, found {type(output).__name__}")
            kept[path] = gram(output)

        handles.append(model.get_submodule(path).register_forward_hook(keep))
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()


def _aligned(student: Anatomy, teacher: Anatomy) -> list[tuple[int, int]]:
    """Return (row, column) for the student's stage ends and for the logits."""
    ends = student.ends_of_stages() if student.stages else list(student.blocks)
    points = [student.point(end) for end in ends]
    others = teacher_points(teacher, student, points, "same_depth")
    rows = [
        (student.blocks.index(end), teacher.blocks.index(other.path)) for end, other in zip(ends, others, strict=True)
    ]
    return [*rows, (len(student.blocks), len(teacher.blocks))]
