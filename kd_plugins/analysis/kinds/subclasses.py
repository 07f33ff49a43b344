"""Sub-classes that a letKD teacher assigns in some test images (letKD, Fig. 2)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ..._tables import text_table
from ..base import Analysis, Study
from ..plot_subclasses import picture
from ..show_subclasses import Assignments, assignment_rows, show_subclasses


class Subclasses(Analysis):
    """Positions of some test images, assigned to sub-classes or centres of the config's letKD term.

    The assignments are the teacher's; every student's agreement with them is told.

    References:
        letKD, Knowledge Distillation Layer that Lets the Student Decide, BMVC 2023, supplementary material, Figure 2.
    """

    name = "subclasses"
    title = "sub-classes of the letKD teacher in some test images"
    needs_teacher = True
    needs_checkpoint = True
    needs_images = False

    def __init__(self) -> None:
        self.found: dict[str, Assignments] = {}

    def compute(self, study: Study) -> dict[str, Any]:
        """Return layer, ``labels`` and ``assigned`` of the images, and counts, targets and agreement of the classes."""
        whole = None if study.teacher is None else study.teacher.inside
        for student in study.students:
            found = show_subclasses(
                study.config, study.built, whole, student.model, study.dataset, study.procs,
                checkpoint=student.checkpoint or "", seed=study.seed,
            )  # fmt: skip
            titles = (student.title, "" if study.teacher is None else study.teacher.title)
            self.found[student.name] = dataclasses.replace(found, models=titles)
        one = next(iter(self.found.values()))
        return {
            "kind": one.kind,
            "layer": one.layer,
            "subclasses": one.subclasses,
            "labels": one.labels,
            "classes": one.names,
            "assigned": one.assigned,
            "counts": one.counts,
            "targets": one.targets,
            "agreement": {name: found.agreement for name, found in self.found.items()},
        }

    def table(self, result: Mapping[str, Any]) -> list[str]:
        """Return a row per shown class, with the agreement of every student."""
        (head, *rows), *others = (assignment_rows(found) for found in self.found.values())
        names = list(self.found)
        if len(names) == 1 or head[-1] != "student agrees":
            return text_table([head, *rows])
        head = [*head[:-1], *(f"{name} agrees" for name in names)]
        return text_table([head, *([*row, *(other[i][-1] for other in others)] for i, row in enumerate(rows, start=1))])

    def draw(self, result: Mapping[str, Any], study: Study) -> Any:
        """Return the marked images, a row per class."""
        agreements = {name: found.agreement for name, found in self.found.items()}
        return picture(next(iter(self.found.values())), agreements)
