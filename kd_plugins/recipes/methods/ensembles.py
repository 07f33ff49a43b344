"""Methods with several teachers."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ..text import Raw
from .method import Method, Setting, Term, masked


def _aekd(method: Method, setting: Setting) -> list[Term]:
    """Weigh the KD losses of several teachers by their gradients."""
    sections = [_teacher(setting, number) for number in range(len(setting.teachers))]
    kwargs: dict[str, Any] = {"teachers": sections}
    if setting.renormalised:
        kwargs |= {"student_mean": Raw("*mean"), "student_std": Raw("*std")}
    setting.teacher_model = {"key": "teacher_ensemble", "kwargs": kwargs}
    paths = [setting.teacher.hook(f"teachers.{number}")[0] for number in range(len(sections))]
    values, weight = method.hyperparameters(setting.values)
    return [
        masked(Term(method.name, method.criterion, {"teacher_module_path": paths, **values}, weight), method, setting)
    ]


def _teacher(setting: Setting, number: int) -> dict[str, Any]:
    """Return the section of one teacher; teachers of one name have numbered checkpoints."""
    model = setting.teachers[number]
    names = [teacher.name for teacher in setting.teachers]
    several = Counter(names)[model.name] > 1
    suffix = f"_{names[: number + 1].count(model.name)}" if several else ""
    section: dict[str, Any] = {
        "key": model.key,
        "kwargs": {**model.kwargs, "num_classes": setting.classes},
        "src_ckpt": f"./checkpoints/{model.name}_{setting.dataset}{suffix}.pth",
    }
    if setting.renormalised and model.key != "timm_model":
        # It was trained on what the loader gives.
        section |= {"mean": Raw("*mean"), "std": Raw("*std")}
    size = setting.sizes[number]
    if size != setting.student.image_size:
        section["input_size"] = size
    return section


ENSEMBLE_METHODS: tuple[Method, ...] = (
    Method(
        "aekd",
        "AEKD",
        "AEKDLoss",
        {"cap": 0.6, "temperature": 4.0},
        0.9,
        0.1,
        "Weights and temperature: those of KD; cap: that of AEKD (Du et al., NeurIPS 2020).",
        build=_aekd,
        teachers=True,
    ),
)
