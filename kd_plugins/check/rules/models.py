"""Mistakes in the models of a config, found without building them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...config.build import has_weights
from ...data.inside import normalisation
from ...host.boxes.parameters import some_of
from ..findings import Findings
from ..stage import Stage, kwargs_of


def check_twins(findings: Findings, built: Mapping[str, Any]) -> None:
    """Add identical teachers of an ensemble, and a student that starts from its teacher's weights."""
    models = built["models"]
    teacher = models.get("teacher_model") or {}
    teachers = kwargs_of(teacher).get("teachers") or []
    for number, one in enumerate(teachers):
        known = _file(one) is not None or kwargs_of(one).get("pretrained")
        if known and one in teachers[:number]:
            findings.warning(
                f"teachers {teachers.index(one)} and {number} are the same model with the same weights: replace one",
                "models", "teacher_model", "kwargs", "teachers", number,
            )  # fmt: skip
    own, others = _file(models.get("student_model") or {}), [_file(one) for one in (teacher, *teachers)]
    if own is not None and own in others:
        findings.warning(
            "the student starts from the teacher's weights: remove src_ckpt, or set it to the student's",
            "models", "student_model", "src_ckpt",
        )  # fmt: skip


def check_classes(findings: Findings, stage: Stage) -> None:
    """Add models whose ``num_classes`` differs from the training set's."""
    wanted = stage.data_classes
    for side in ("teacher", "student") if stage.has_teacher else ("student",):
        said = kwargs_of(stage.model(side)).get("num_classes")
        if isinstance(said, int) and wanted is not None:
            classes_differ(findings, side, said, wanted, *stage.model_path(side), background=stage.task.background)


def classes_differ(findings: Findings, side: str, found: int, wanted: int, *at: str, background: int = 0) -> None:
    """Add a finding if a model and the data set differ in the number of classes; ``background`` counts none."""
    wanted += background
    more = " (one is the background)" if background else ""
    if found < wanted:
        findings.error(f"the {side} has {found} classes, but the labels need {wanted}{more}: set num_classes", *at)
    elif found > wanted:
        findings.warning(f"the {side} has {found} classes, but the data set has {wanted}{more}: set num_classes", *at)


def check_reads_student(findings: Findings, stage: Stage) -> None:
    """Add ``SimpleLossWrapper`` terms that read the teacher only."""
    for name, term in stage.terms.items() if stage.has_teacher and not stage.trains("teacher") else ():
        wrapper = term.get("criterion_wrapper") or {}
        kwargs = kwargs_of(wrapper)
        sides = [kwargs.get(part) or {} for part in ("input", "target")]
        reads = [side.get("is_from_teacher") for side in sides if "module_path" in side]
        if wrapper.get("key") == "SimpleLossWrapper" and reads and all(reads):
            findings.error("the term has no gradient: it does not depend on the student", *stage.terms_path, name)


def check_frozen(findings: Findings, stage: Stage) -> None:
    """Add parts of the student that are frozen at their random initialisation."""
    frozen = stage.side("student").get("frozen_modules")
    if frozen and not stage.number and not has_weights(stage.model("student")):
        findings.warning(
            f"frozen_modules {some_of([str(name) for name in frozen])} have random weights: set src_ckpt for the "
            "student, or train them",
            *stage.path, stage.side_key("student"), "frozen_modules",
        )  # fmt: skip


def check_student_mean(findings: Findings, stage: Stage) -> None:
    """Add teachers whose ``student_mean`` and ``student_std`` differ from the loader's normalisation."""
    if stage.data is None:
        return
    loaded = normalisation(stage.data)
    places = (
        (stage.built["models"].get("teacher_model") or {}, ("models", "teacher_model", "kwargs", "student_mean")),
        (stage.wrapper("teacher"), (*stage.path, "teacher", "auxiliary_model_wrapper", "kwargs", "student_mean")),
    )
    for section, at in places:
        told = [list(kwargs_of(section).get(name) or ()) for name in ("student_mean", "student_std")]
        if all(told):
            mean, std = loaded or ([0.0] * len(told[0]), [1.0] * len(told[1]))
            if not close([*told[0], *told[1]], [*mean, *std]):
                findings.warning(
                    f"student_mean {told[0]} and student_std {told[1]} must be the loader's normalisation, but the "
                    + (f"loader uses {mean} and {std}" if loaded else "loader does not normalise"),
                    *at,
                )  # fmt: skip


def close(one: Sequence[float], other: Sequence[float]) -> bool:
    """Tell whether two normalisations (means and standard deviations) are the same up to rounding."""
    return all(math.isclose(a, b, abs_tol=0.02) for a, b in zip(one, other, strict=False))


def _file(section: Mapping[str, Any]) -> Path | None:
    name = section.get("src_ckpt") or kwargs_of(section).get("checkpoint")
    return Path(name).expanduser().resolve() if isinstance(name, str) and name else None
