"""Methods with several teachers."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import Any

from ..sides import TeacherSide
from ..writing.text import Raw
from .method import Method, Setting, Term, masked


def _on_logits(method: Method, setting: Setting) -> list[Term]:
    """Compare with the logits of several teachers."""
    _ensemble(setting, ())
    return [_logits(method, setting, method.name)]


def _on_features(method: Method, setting: Setting) -> list[Term]:
    """Weigh the KD losses of several teachers by their gradients, and likewise hints at their last maps."""
    names = _ensemble(setting, ("last_map",))
    values, _ = method.hyperparameters(setting.values)
    paths = [setting.student.hook("points.last_map")[0]]
    for name, teacher, size in zip(names, setting.teachers, setting.sizes, strict=True):
        side = TeacherSide(teacher, size)
        paths.append(setting.student.regressed("last_map", side, "last_map", of=method.title, name=name)[0])
    hooked = [setting.teacher.hook(f"teachers.{number}.points.last_map")[0] for number in range(len(names))]
    kwargs = {"student_module_path": paths, "teacher_module_path": hooked, "cap": values["cap"]}
    hints = Term(f"{method.name}_hints", "AEKDFeatureLoss", kwargs, values["hint_weight"])
    own = dataclasses.replace(method, masked=hints.criterion)
    return [_logits(method, setting, f"{method.name}_logits"), masked(hints, own, setting)]


def _logits(method: Method, setting: Setting, name: str) -> Term:
    paths = [setting.teacher.hook(f"teachers.{number}")[0] for number in range(len(setting.teachers))]
    values, weight = method.hyperparameters(setting.values)
    values = {key: value for key, value in values.items() if key != "hint_weight"}
    return masked(Term(name, method.criterion, {"teacher_module_path": paths, **values}, weight), method, setting)


def _ensemble(setting: Setting, points: Sequence[str]) -> list[str]:
    """Make the teachers one model, and return their names; those of one model are numbered."""
    models = [teacher.name for teacher in setting.teachers]
    several = Counter(models)
    names = [
        f"{name}_{models[: number + 1].count(name)}" if several[name] > 1 else name
        for number, name in enumerate(models)
    ]
    sections = [_teacher(setting, number, name, points) for number, name in enumerate(names)]
    kwargs: dict[str, Any] = {"teachers": sections}
    if setting.renormalised:
        kwargs |= {"student_mean": Raw("*mean"), "student_std": Raw("*std")}
    setting.teacher_model = {"key": "teacher_ensemble", "kwargs": kwargs}
    return names


def _teacher(setting: Setting, number: int, name: str, points: Sequence[str]) -> dict[str, Any]:
    """Return the section of one teacher."""
    model, size = setting.teachers[number], setting.sizes[number]
    section: dict[str, Any] = {
        "key": model.key,
        "kwargs": {**model.kwargs, "num_classes": setting.classes},
        "src_ckpt": setting.checkpoint_of(model.name, name.removeprefix(model.name)),
    }
    if setting.renormalised and model.key != "timm_model":
        # It was trained on what the loader gives.
        section |= {"mean": Raw("*mean"), "std": Raw("*std")}
    if size != setting.student.image_size:
        section["input_size"] = size
    if points:
        section["points"] = list(points)
        if size != model.input_size:
            section["probe_size"] = size
    return section


_AEKD = "Weights and temperature: those of KD; cap: that of AEKD (Du et al., NeurIPS 2020)."

ENSEMBLE_METHODS: tuple[Method, ...] = (
    Method(
        "aekd",
        "AEKD",
        "AEKDLoss",
        {"cap": 0.6, "temperature": 4.0},
        0.9,
        0.1,
        _AEKD,
        build=_on_logits,
        teachers=True,
    ),
    Method(
        "aekd_f",
        "AEKD on logits and features (AEKD-F)",
        "AEKDLoss",
        {"cap": 0.6, "temperature": 4.0, "hint_weight": 1.0},
        0.9,
        0.1,
        f"{_AEKD} The hints are at the last maps, and weigh 1, untuned.",
        build=_on_features,
        teachers=True,
    ),
    Method(
        "average",
        "the mean of their softened probabilities",
        "AverageEnsembleLoss",
        {"temperature": 4.0},
        0.9,
        0.1,
        "The baseline of AEKD. Weights and temperature: those of KD.",
        build=_on_logits,
        teachers=True,
    ),
)
