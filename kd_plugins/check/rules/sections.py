"""Apply the rules that need no forward pass, and check teacher, student and loss weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...config.build import has_weights
from ..findings import Findings
from ..stage import Section, Stage, all_stages
from .data import check_data, check_fitted_on_test, check_indices, check_samples, check_scale
from .files import check_checkpoints, check_written_files
from .loaders import check_loader, check_test, check_validation, check_views, train_loader_runs
from .masks import check_keep
from .models import check_classes, check_frozen, check_reads_student, check_student_mean, check_twins
from .schedules import check_optimizer, check_schedule
from .values import check_values


def check_sections(findings: Findings, built: Mapping[str, Any], *, weights: bool) -> bool:
    """Check every section of a config; return whether a training step can be tried.

    A section with a wrong name, which is reported already, may be skipped. ``weights`` tells whether the teacher must
    have weights and checkpoint files must exist.
    """
    named = not findings.failed

    def hold(rule: Callable[..., bool | None], *args: Any, **kwargs: Any) -> bool:
        try:
            return rule(findings, *args, **kwargs) is not False
        except Exception as error:
            if named and not findings.failed:
                # No rule expects this. Report it and go on with the other rules.
                where = next((arg.path for arg in args if isinstance(arg, Stage)), ())
                with findings.caught(*where):
                    raise error
            return False

    runs = [named]
    if weights:
        runs.append(hold(check_checkpoints, built))
        hold(_random_teacher, built)
    runs.append(hold(check_indices, built))
    for stage in all_stages(built) if hold(_is_there, built) else ():
        runs += [hold(rule, stage) for rule in (train_loader_runs, _student, check_optimizer, _weights)]
        for rule in (
            _teacher, check_schedule, check_validation, check_values, check_keep, check_reads_student,
            check_views, check_loader, check_frozen, check_student_mean, check_fitted_on_test,
        ):  # fmt: skip
            hold(rule, stage)
    for check in (check_test, check_written_files, check_twins, check_scale):
        hold(check, built)
    runs.append(hold(check_data, built))
    for stage in all_stages(built) if all(runs) else ():
        hold(check_classes, stage)
    if weights and all(runs):
        runs.append(hold(check_samples, built))
    return all(runs)


def _is_there(_findings: Findings, built: Mapping[str, Any]) -> bool:
    return all(True for _ in all_stages(built))


def _random_teacher(findings: Findings, built: Mapping[str, Any]) -> None:
    section: Section | None = built["models"].get("teacher_model")
    if section is not None and not has_weights(section):
        message = "the teacher has random weights: set src_ckpt, or checkpoint or pretrained in its kwargs"
        findings.warning(message, "models", "teacher_model")


def _teacher(findings: Findings, stage: Stage) -> None:
    side = stage.side("teacher")
    if not ((side or stage.number) and stage.trains("teacher") and stage.trains("student")):
        return
    if "requires_grad" not in side:
        findings.error("the teacher is not frozen: add requires_grad: False", *stage.path, "teacher")
    elif not side.get("frozen_modules"):
        findings.warning(
            "the whole teacher is trained together with the student: set requires_grad: False, unless this is intended",
            *stage.path, "teacher", "requires_grad",
        )  # fmt: skip


def _student(findings: Findings, stage: Stage) -> bool:
    side = stage.side_key("student")
    if stage.trains("student") or stage.trains("teacher"):
        return True
    findings.error(f"the {side} is frozen: remove requires_grad", *stage.path, side, "requires_grad")
    return False


def _weights(findings: Findings, stage: Stage) -> bool:
    own = stage.model_term.get("weight")
    if not stage.terms and not own:
        findings.error("the criterion has no terms: add some under kwargs.sub_terms", *stage.path, "criterion")
    for name, term in stage.terms.items():
        at = (*stage.terms_path, name, "weight")
        if term["weight"] == 0:
            findings.warning("a term with weight 0 has no effect: remove it", *at)
        elif term["weight"] < 0:
            findings.warning(f"weight {term['weight']} is negative and maximises the term: make it positive", *at)
    return bool(stage.terms or own)
