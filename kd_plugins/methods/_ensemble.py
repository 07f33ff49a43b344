"""Several teachers as one model, and the term on their logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..pairs.marks import Raw
from ..pairs.setting import Setting, Term
from ._record import BY, FILL, Method

THREE_TEACHERS = {"teacher_module_path": ["teachers.0", "teachers.1", "teachers.2"]}
"""Teacher logits for the contract test."""
SOURCE = "Weights and temperature: those of KD; cap: that of AEKD (Du et al., NeurIPS 2020)."
COMMON: dict[str, Any] = {
    "keywords": {"keep": None, "by": "value", "fill": "zero"},
    "choices": {"by": BY, "fill": FILL},
    "weight": 0.9,
    "ce": 0.1,
    "teachers": True,
}
"""Fields that the records share."""


def on_logits(method: Method, setting: Setting) -> list[Term]:
    """Return the term on the logits of several teachers."""
    ensemble(setting, ())
    return [logit_term(method, setting, method.name)]


def logit_term(method: Method, setting: Setting, name: str) -> Term:
    """Return the term on the logits of all teachers, without building the ensemble."""
    paths = [setting.teacher.hook(f"teachers.{number}")[0] for number in range(len(setting.teachers))]
    values, weight = method.hyperparameters(setting.values)
    values.pop("hint_weight", None)
    return method.with_mask(Term(name, method.key, {"teacher_module_path": paths, **values}, weight), setting)


def ensemble(setting: Setting, points: Sequence[str]) -> list[str]:
    """Build one model of the teachers, and return their names; equal models are numbered."""
    models = [teacher.name for teacher in setting.teachers]
    names = [
        f"{name}_{models[: number + 1].count(name)}" if models.count(name) > 1 else name
        for number, name in enumerate(models)
    ]
    sections = [_teacher(setting, number, name, points) for number, name in enumerate(names)]
    kwargs: dict[str, Any] = {"teachers": sections}
    if setting.renormalised:
        kwargs |= {"student_mean": Raw("*mean"), "student_std": Raw("*std")}
    setting.teacher_model = {"key": "teacher_ensemble", "kwargs": kwargs}
    return names


def _teacher(setting: Setting, number: int, name: str, points: Sequence[str]) -> dict[str, Any]:
    model, size = setting.teachers[number], setting.sizes[number]
    section = model.section(setting.classes)
    section["src_ckpt"] = setting.checkpoint_of(model.name, name.removeprefix(model.name))
    if setting.renormalised and model.key != "timm_model":
        # It was trained with the loader's normalisation.
        section |= {"mean": Raw("*mean"), "std": Raw("*std")}
    if size != setting.student.image_size:
        section["input_size"] = size
    if points:
        section["points"] = list(points)
        if size != model.input_size:
            section["probe_size"] = size
    return section
