"""Agreement of predictions with the teacher's, and extracurricular knowledge (LAKD, Eq. 10 and Table 5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..._tables import text_table
from ...metrics import agreement, extracurricular_knowledge
from ..base import TEACHER, Analysis, Study
from ..drawing import add_title, class_ticks, colours, frame, new_figure


class Agreement(Analysis):
    """Share of the images with the teacher's prediction, and share of its errors that a student gets right.

    References:
        Stanton et al., Does Knowledge Distillation Really Work?, NeurIPS 2021. Zhang et al., LAKD, 2024, Eq. (10).
    """

    name = "agreement"
    title = "agreement with the teacher's predictions"
    needs_teacher = True
    needs_checkpoint = True

    def compute(self, study: Study) -> dict[str, Any]:
        """Return for every student ``agreement``, ``extracurricular`` and ``per_class``, from 0 to 1."""
        logits, labels = study.found.logits, study.found.labels
        teacher = logits[TEACHER]
        present = labels.unique().tolist()
        students = {}
        for student in study.students:
            own = logits[student.name]
            students[student.name] = {
                "agreement": agreement(own, teacher),
                "extracurricular": extracurricular_knowledge(own, teacher, labels),
                "per_class": [agreement(own[labels == label], teacher[labels == label]) for label in present],
            }
        return {
            "classes": [study.class_name(label) for label in present],
            "teacher_wrong": int((teacher.argmax(1) != labels).sum()),
            "students": students,
        }

    def table(self, result: Mapping[str, Any]) -> list[str]:
        """Return a row per student."""
        heads = ["student", "agreement, %", "extracurricular knowledge, %", "lowest class", "its agreement, %"]
        rows = [heads]
        for name, found in result["students"].items():
            knowledge = found["extracurricular"]
            low = min(range(len(found["per_class"])), key=found["per_class"].__getitem__)
            rows.append([
                name, f"{100 * found['agreement']:.2f}", "undefined" if knowledge is None else f"{100 * knowledge:.2f}",
                result["classes"][low], f"{100 * found['per_class'][low]:.2f}",
            ])  # fmt: skip
        wrong = result["teacher_wrong"]
        told = (
            f"extracurricular knowledge: share of the {wrong} images that the teacher gets wrong, of {result['images']}"
        )
        return [*text_table(rows), told]

    def draw(self, result: Mapping[str, Any], study: Study) -> Any:
        """Return the agreement of every class, and of all as a line."""
        students = result["students"]
        figure = new_figure(8.0, 4.4)
        axes = figure.subplots()
        shade = colours(list(result["models"]))
        count = len(result["classes"])
        step = 0.6 / max(len(students), 1)
        for number, (name, found) in enumerate(students.items()):
            places = [place + step * (number - (len(students) - 1) / 2) for place in range(count)]
            total = 100 * found["agreement"]
            axes.plot(places, [100 * x for x in found["per_class"]], "o", ms=5, color=shade[name],
                      label=f"{name} (all: {total:.1f} %)")  # fmt: skip
            axes.axhline(total, color=shade[name], lw=1.2, ls="--")
        class_ticks(axes, result["classes"])
        frame(axes, "class of the image", "same prediction as the teacher, %", grid="y")
        figure.legend(loc="outside lower center", ncols=3, frameon=False)
        add_title(figure, result, "Agreement with the teacher, by class; dashed: all images")
        return figure
