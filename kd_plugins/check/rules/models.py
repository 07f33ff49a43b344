"""Mistakes in the models of a config, found without building them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...config.build import has_weights
from ...data.inside import base_datasets, normalisation
from ...host.boxes.parameters import some_of
from ..findings import Findings
from ..stage import Stage


def check_twins(findings: Findings, built: Mapping[str, Any]) -> None:
    """Add identical teachers of an ensemble, and a student that starts from its teacher's weights."""
    models = built["models"]
    teacher = models.get("teacher_model") or {}
    teachers = (teacher.get("kwargs") or {}).get("teachers") or []
    for number, one in enumerate(teachers):
        known = _file(one) is not None or (one.get("kwargs") or {}).get("pretrained")
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
    data = stage.built["datasets"].get((stage.section.get("train_data_loader") or {}).get("dataset_id"))
    named = getattr(base_datasets(data)[0], "classes", None) if data is not None else None
    if not isinstance(named, (list, tuple)):
        return
    for side in ("teacher", "student") if stage.has_teacher else ("student",):
        at = stage.model_path(side)
        said = ((stage.built["models"].get(at[1]) or {}).get("kwargs") or {}).get("num_classes")
        if isinstance(said, int):
            classes_differ(findings, side, said, len(named), *at)


def classes_differ(findings: Findings, side: str, found: int, wanted: int, *at: str) -> None:
    """Add a finding if a model and the data set differ in the number of classes."""
    if found < wanted:
        findings.error(f"the {side} has {found} classes, but the labels need {wanted}: set num_classes", *at)
    elif found > wanted:
        findings.warning(f"the {side} has {found} classes, but the data set has {wanted}: set num_classes", *at)


def check_reads_student(findings: Findings, stage: Stage) -> None:
    """Add ``SimpleLossWrapper`` terms that read the teacher only."""
    for name, term in stage.terms.items() if stage.has_teacher and not stage.trains("teacher") else ():
        wrapper = term.get("criterion_wrapper") or {}
        kwargs = wrapper.get("kwargs") or {}
        sides = [kwargs.get(part) or {} for part in ("input", "target")]
        reads = [side.get("is_from_teacher") for side in sides if "module_path" in side]
        if wrapper.get("key") == "SimpleLossWrapper" and reads and all(reads):
            findings.error("the term has no gradient: it does not depend on the student", *stage.terms_path, name)


def check_frozen(findings: Findings, stage: Stage) -> None:
    """Add parts of the student that are frozen at their random initialisation."""
    frozen = stage.side("student").get("frozen_modules")
    section = stage.built["models"].get(stage.model_path("student")[1]) or {}
    if frozen and not stage.number and not has_weights(section):
        findings.warning(
            f"frozen_modules {some_of([str(name) for name in frozen])} have random weights: set src_ckpt for the "
            "student, or train them",
            *stage.path, stage.side_key("student"), "frozen_modules",
        )  # fmt: skip


def check_student_mean(findings: Findings, stage: Stage) -> None:
    """Add teachers whose ``student_mean`` and ``student_std`` differ from the loader's normalisation."""
    data = stage.built["datasets"].get((stage.section.get("train_data_loader") or {}).get("dataset_id"))
    if data is None:
        return
    loaded = normalisation(data)
    model = stage.built["models"].get("teacher_model") or {}
    wrapper = stage.side("teacher").get("auxiliary_model_wrapper") or {}
    places = (
        (model, ("models", "teacher_model", "kwargs", "student_mean")),
        (wrapper, (*stage.path, "teacher", "auxiliary_model_wrapper", "kwargs", "student_mean")),
    )
    for section, at in places:
        kwargs = section.get("kwargs") or {}
        told = [list(kwargs.get(name) or ()) for name in ("student_mean", "student_std")]
        if all(told):
            mean, std = loaded or ([0.0] * len(told[0]), [1.0] * len(told[1]))
            pairs = zip([*told[0], *told[1]], [*mean, *std], strict=False)
            if not all(math.isclose(a, b, abs_tol=0.02) for a, b in pairs):
                findings.warning(
                    f"student_mean {told[0]} and student_std {told[1]} must be the loader's normalisation, but the "
                    + (f"loader uses {mean} and {std}" if loaded else "loader does not normalise"),
                    *at,
                )  # fmt: skip


def _file(section: Mapping[str, Any]) -> Path | None:
    name = section.get("src_ckpt") or (section.get("kwargs") or {}).get("checkpoint")
    return Path(name).expanduser().resolve() if isinstance(name, str) and name else None
