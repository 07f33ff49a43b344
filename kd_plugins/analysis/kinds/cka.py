"""Similarity of all layers of student and teacher (LAKD, Fig. 1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ..._errors import ConfigError
from ..._tables import text_table
from ...host.lakd.alignment import teacher_points
from ...host.lakd.anatomy import Anatomy, anatomy
from ...metrics import MinibatchCKA
from ...metrics.cka import gram
from ..base import TEACHER, Analysis, Batch, Reading, Study, Subject, Values
from ..drawing import add_title, new_figure

LOGITS = "logits"
WIDEST = 8.0
"""Inches of a row of heat maps."""


class CKA(Analysis):
    """Linear CKA of every block of the students with every block of the teacher, from batches.

    References:
        Nguyen, Raghu, Kornblith, Do Wide and Deep Networks Learn the Same Things?, ICLR 2021. Zhang et al., LAKD,
        2024, Figure 1.
    """

    name = "cka"
    title = "similarity of layers (linear CKA)"
    needs_teacher = True
    needs_checkpoint = True

    def __init__(self) -> None:
        self.parts: dict[str, Anatomy] = {}
        self.found: dict[str, MinibatchCKA] = {}
        self.teacher: list[Tensor] = []

    def reads(self, study: Study, subject: Subject) -> Reading:
        """Return the Gram matrices of every block; only the sums over the batches are kept."""
        return self.reading(subject)

    def reading(self, subject: Subject) -> Reading:
        """Return what to keep of a model; the teacher must run before the students."""
        parts = self.parts[subject.name] = _parts(subject)
        if subject.name != TEACHER:
            self.found[subject.name] = MinibatchCKA()

        def keep(batch: Batch, values: Values) -> Values:
            grams = [*(values[block] for block in parts.blocks), gram(batch.logits)]
            if subject.name == TEACHER:
                self.teacher = grams  # the teacher runs first on every batch
            else:
                self.found[subject.name].update(grams, self.teacher)
            return {}

        return Reading({block: ((block, "output"), _gram_of(block)) for block in parts.blocks}, keep)

    def compute(self, study: Study) -> dict[str, Any]:
        """Return ``layers`` of every model, ``cka`` of the students' with the teacher's, and the ``aligned`` pairs."""
        return {
            "layers": {name: layers(parts) for name, parts in self.parts.items()},
            "cka": {name: found.value() for name, found in self.found.items()},
            "aligned": {name: aligned(self.parts[name], self.parts[TEACHER]) for name in self.found},
        }

    def table(self, result: Mapping[str, Any]) -> list[str]:
        """Return a row per pair of layers at the same depth."""
        names = list(result["cka"])
        rows = [["student", "teacher", *names]]
        own, other = result["layers"][names[0]], result["layers"][TEACHER]
        for i, j in result["aligned"][names[0]]:
            rows.append([own[i], other[j], *(_number(result["cka"][name][i][j]) for name in names)])
        return text_table(rows, left=(0, 1))

    def draw(self, result: Mapping[str, Any], study: Study) -> Any:
        """Return a heat map per student, all on the scale from 0 to 1; dots mark the pairs in the table."""
        names = list(result["cka"])
        rows, columns = len(result["layers"][names[0]]), len(result["layers"][TEACHER])
        width, height = 1.2 + 0.26 * columns, 1.5 + 0.26 * rows
        across = max(min(len(names), int(WIDEST / width)), 1)
        down = -(-len(names) // across)
        figure = new_figure(max(5.0, 1.4 + width * across), max(3.6, 0.6 + height * down))
        grid = figure.subplots(down, across, squeeze=False).ravel()
        for axes in grid[len(names) :]:
            axes.set_axis_off()
        # A picture has a fixed number of pixels, so the letters of a wide figure are larger.
        size = min(max(7.0, 0.6 * figure.get_figwidth()), 14.0)
        for axes, name in zip(grid, names, strict=False):
            layers_of = (result["layers"][name], result["layers"][TEACHER])
            image = heat_map(axes, result["cka"][name], layers_of, result["aligned"][name], fontsize=size)
            axes.set_title(name, fontsize=size + 2)
            axes.set_xlabel("layers of the teacher", fontsize=size + 1)
            axes.set_ylabel("layers of the student", fontsize=size + 1)
        figure.colorbar(image, ax=list(grid), shrink=0.8, label="linear CKA")
        add_title(figure, result, "Similarity of layers (linear CKA); dots: pairs of equal depth")
        return figure


def heat_map(
    axes: Any, cka: Any, names: tuple[list[str], list[str]], pairs: list[tuple[int, int]], *, fontsize: float = 6
) -> Any:
    """Draw the CKA of a student's layers (rows) with a teacher's (columns)."""
    image = axes.imshow(
        torch.tensor([[float("nan") if x is None else x for x in row] for row in cka]).numpy(),
        vmin=0, vmax=1, cmap="magma", origin="lower", aspect="equal",
    )  # fmt: skip
    down, across = zip(*pairs, strict=True)
    axes.scatter(across, down, s=14, color="white", edgecolor="black", lw=0.6)
    axes.set_xticks(range(len(names[1])), names[1], rotation=90, fontsize=fontsize)
    axes.set_yticks(range(len(names[0])), names[0], fontsize=fontsize)
    return image


def layers(parts: Anatomy) -> list[str]:
    """Return the paths of a model's blocks in forward order, then ``"logits"``."""
    return [*parts.blocks, LOGITS]


def aligned(student: Anatomy, teacher: Anatomy) -> list[tuple[int, int]]:
    """Return (row, column) for the student's stage ends and for the logits."""
    ends = student.ends_of_stages() if student.stages else list(student.blocks)
    points = [student.point(end) for end in ends]
    others = teacher_points(teacher, student, points, "same_depth")
    rows = [
        (student.blocks.index(end), teacher.blocks.index(other.path)) for end, other in zip(ends, others, strict=True)
    ]
    return [*rows, (len(student.blocks), len(teacher.blocks))]


def _parts(subject: Subject) -> Anatomy:
    # Feature points are found outside inference mode, because inference tensors would remain in the model.
    with torch.inference_mode(False):
        parts = anatomy(subject.inside, list(subject.size))
    if not parts.blocks:
        side = "teacher" if subject.name == TEACHER else "student"
        model = type(subject.inside).__name__
        raise ConfigError(f"cka: the blocks of the {side}, {model}, are unknown ({parts.reason})")
    return parts


def _gram_of(path: str) -> Callable[[Any], Tensor]:
    def reduce(output: Any) -> Tensor:
        if not isinstance(output, Tensor):
            raise ConfigError(f"cka: {path!r} must return one tensor, found {type(output).__name__}")
        return gram(output)

    return reduce


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"
