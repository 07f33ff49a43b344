"""AEKD-F: AEKD with hints of several teachers."""

from __future__ import annotations

from ..pairs.setting import Setting, Term
from ..pairs.sides import TeacherSide
from ._ensemble import COMMON, SOURCE, ensemble, logit_term
from ._record import FEATURE_ENSEMBLE, Loss, Method


def _with_hints(method: Method, setting: Setting) -> list[Term]:
    """Return a term on the logits of several teachers, and one on hints at their last maps."""
    names = ensemble(setting, ("last_map",))
    values, _ = method.hyperparameters(setting.values)
    paths = [setting.student.hook("points.last_map")[0]]
    for name, teacher, size in zip(names, setting.teachers, setting.sizes, strict=True):
        side = TeacherSide(teacher, size)
        paths.append(setting.student.regressed("last_map", side, "last_map", of=method.title, name=name)[0])
    hooked = [setting.teacher.hook(f"teachers.{number}.points.last_map")[0] for number in range(len(names))]
    kwargs = {"student_module_path": paths, "teacher_module_path": hooked, "cap": values["cap"]}
    hints = Term(f"{method.name}_hints", "AEKDFeatureLoss", kwargs, values["hint_weight"])
    return [
        logit_term(method, setting, f"{method.name}_logits"),
        method.with_mask(hints, setting, masked=hints.criterion),
    ]


METHOD = Method(
    name="aekd_f",
    title="AEKD on logits and features (AEKD-F)",
    label="AEKD-F",
    paper="AEKD, Du et al., NeurIPS 2020",
    summary="AEKD, and hints of several teachers weighted likewise",
    losses=[
        Loss(
            "kd_plugins.losses.aekd_f:AEKDFeatureLoss",
            "hints of several teachers, weighted likewise",
            FEATURE_ENSEMBLE,
            {"student_module_path": "layer", "teacher_module_path": ["layer", "small"], "keep": 5},
        )
    ],
    criterion="AEKDLoss",
    values={"cap": 0.6, "temperature": 4.0, "hint_weight": 1.0},
    source=f"{SOURCE} The hints are at the last maps, and weigh 1, untuned.",
    build=_with_hints,
    **COMMON,
)
