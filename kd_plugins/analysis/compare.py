"""Compare a trained student with its teacher: predictions, and similarity of layers (CKA)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn
from torch.utils.data import DataLoader

from .._errors import ConfigError
from .._tables import text_table
from ..data.loading import batches
from ..metrics import agreement, extracurricular_knowledge
from ..runtime.distributed import Processes
from .base import TEACHER
from .drawing import new_figure, save_figure
from .kinds.cka import CKA, aligned, heat_map, layers
from .passes import run_models
from .study import subject

STUDENT = "student"


@dataclass(frozen=True)
class Comparison:
    """Similarity of a student and its teacher."""

    samples: int  # number of images
    agreement: float  # fraction of images with the same prediction, from 0 to 1
    teacher_wrong: int  # number of images that the teacher gets wrong
    extracurricular: float  # fraction of these that the student gets right; NaN if there are none
    student_layers: tuple[str, ...]  # paths of the student's blocks in forward order, then "logits"
    teacher_layers: tuple[str, ...]  # likewise for the teacher
    cka: tuple[tuple[float, ...], ...]  # linear CKA, one row per student layer and one column per teacher layer
    aligned: tuple[tuple[int, int], ...]  # (row, column) of the student's stage ends and logits: layers of equal depth
    models: tuple[str, str] = ("", "")  # names of student and teacher


def compare(student: nn.Module, teacher: nn.Module, loader: DataLoader, processes: Processes) -> Comparison:
    """Run both models, which return logits (B, C), over a loader of ``(batch, labels)`` and compare them.

    Raises:
        ValueError: in several processes, or for a model without known blocks.
    """
    if processes.distributed:
        raise ConfigError("--compare-teacher needs all samples in one process: run it without torchrun")
    images = next(batches(loader))[0][:1].to(processes.device)
    sides = {TEACHER: teacher, STUDENT: student}
    subjects = [subject(name, type(model).__name__, model, images) for name, model in sides.items()]
    cka = CKA()
    readings = {(cka.name, one.name): cka.reading(one) for one in subjects}
    found = run_models(subjects, loader, processes.device, readings)
    answers = found.logits[STUDENT], found.logits[TEACHER]
    return Comparison(
        samples=len(found.labels),
        agreement=agreement(*answers).item(),
        teacher_wrong=int((answers[1].argmax(1) != found.labels).sum()),
        extracurricular=extracurricular_knowledge(*answers, found.labels).item(),
        student_layers=tuple(layers(cka.parts[STUDENT])),
        teacher_layers=tuple(layers(cka.parts[TEACHER])),
        cka=tuple(tuple(row) for row in cka.found[STUDENT].value().tolist()),
        aligned=tuple(aligned(cka.parts[STUDENT], cka.parts[TEACHER])),
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
    lines = [
        f"agreement with the teacher: {100 * found.agreement:.2f} % of {found.samples} images",
        f"extracurricular knowledge:  {knowledge}",
    ]
    return "\n".join([*lines, "", *text_table(rows, left=(0, 1, 2))])


def save_heat_map(found: Comparison, path: str | Path) -> None:
    """Write the CKA of all pairs of layers as a PNG file; dots mark the pairs in the table.

    Raises:
        ConfigError: if the file cannot be written.
    """
    rows, columns = len(found.student_layers), len(found.teacher_layers)
    figure = new_figure(2.6 + 0.26 * columns, 1.9 + 0.26 * rows)
    axes = figure.add_subplot()
    names = list(found.student_layers), list(found.teacher_layers)
    image = heat_map(axes, found.cka, names, list(found.aligned))
    axes.set_xlabel(f"layers of the teacher\n{found.models[1]}".rstrip())
    axes.set_ylabel(f"layers of the student\n{found.models[0]}".rstrip())
    axes.set_title(f"{found.samples} images", fontsize=10)
    figure.colorbar(image, ax=axes, shrink=0.8, label="linear CKA")
    save_figure(figure, path, "heat map")
