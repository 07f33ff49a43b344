"""What a training step shows to be wrong, or seldom meant."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..bench.training_step import TrainingStep
from ..engine.validate import stages
from ..host.teacher import FrozenTeacher
from ..models import pretrained_input
from .config_rules import normalisation
from .findings import Findings
from .observed import Observed, Term

FAR = 1000.0
"""A term whose gradient is this much larger or smaller than the cross-entropy's is remarked on."""


def check_observed(findings: Findings, step: TrainingStep, seen: Observed, path: tuple[str, ...]) -> None:
    """Add what one step showed.

    Args:
        findings: of the config; they grow.
        step: of the config.
        seen: what it did.
        path: of the stage.
    """
    _hooks(findings, step, seen, path)
    _labels(findings, seen, path)
    _terms(findings, step, seen, path)
    _teacher(findings, step, seen, path)
    _trained(findings, step, seen, path)


def check_teacher_input(findings: Findings, step: TrainingStep, path: tuple[str, ...]) -> None:
    """Add a finding where the teacher was trained on another normalisation than the loader's."""
    section = step.built["models"].get("teacher_model") or {}
    teacher = getattr(step.box, "org_teacher_model", None)
    if teacher is None or not (section.get("kwargs") or {}).get("pretrained"):
        return  # weights of the user's own are from data normalised as nobody knows
    own = pretrained_input(teacher)
    data = step.built["datasets"].get((step.stage.get("train_data_loader") or {}).get("dataset_id"))
    loaded = normalisation(data)
    if own is None or loaded is None or isinstance(step.box.teacher_model, FrozenTeacher):
        return
    pairs = zip([*own.mean, *own.std], [*loaded[0], *loaded[1]], strict=False)
    if not all(math.isclose(a, b, abs_tol=0.02) for a, b in pairs):
        findings.warning(
            f"the teacher's pretrained weights expect mean {list(own.mean)} and std {list(own.std)}, the loader "
            f"normalises with {loaded[0]} and {loaded[1]}: add auxiliary_model_wrapper: {{key: FrozenTeacher, kwargs: "
            "{student_mean: ..., student_std: ...}}",
            *path,
            "teacher",
        )


def check_teacher_accuracy(findings: Findings, seen: Observed, path: tuple[str, ...]) -> None:
    """Add a finding where the teacher knows no more of a batch than chance."""
    logits = seen.io.get("teacher", {}).get(".", {}).get("output")
    if not isinstance(logits, Tensor) or logits.ndim != 2 or seen.targets.ndim != 1 or len(logits) != len(seen.targets):
        return
    right, chance = int((logits.argmax(1) == seen.targets).sum()), len(logits) / logits.shape[1]
    # Three standard deviations above guessing.
    if right <= chance + 3 * math.sqrt(chance):
        findings.warning(
            f"the teacher is right on {right} of {len(logits)} training images, as one that guesses: are its weights, "
            "normalisation and input size the ones that it was trained with?",
            *path,
            "teacher",
        )


def _hooks(findings: Findings, step: TrainingStep, seen: Observed, path: tuple[str, ...]) -> None:
    count = 0
    for side in ("teacher", "student", "model"):
        section = step.stage.get(side) or {}
        got = seen.io.get("student" if side == "model" else side, {})
        for io, paths in (section.get("forward_hook") or {}).items():
            for index, module_path in enumerate(paths or []):
                count += 1
                if got.get(module_path, {}).get(io) is None:
                    findings.error(
                        f"the {side}'s {module_path!r} was never run in the forward pass, so its {io} was not "
                        "captured: hook a module that is called",
                        *path,
                        side,
                        "forward_hook",
                        io,
                        index,
                    )
    if count:
        findings.fine(f"{count} hooks fire")


def _labels(findings: Findings, seen: Observed, path: tuple[str, ...]) -> None:
    targets = seen.targets
    if targets.ndim != 1 or targets.is_floating_point():
        return
    highest, lowest = int(targets.max()), int(targets.min())
    classes = {}
    for side in ("teacher", "student"):
        logits = seen.io.get(side, {}).get(".", {}).get("output")
        if isinstance(logits, Tensor) and logits.ndim == 2:
            classes[side] = logits.shape[1]
            if highest >= logits.shape[1] or lowest < 0:
                findings.error(
                    f"label {highest if highest >= logits.shape[1] else lowest} is no class of the {side}, which has "
                    f"{logits.shape[1]}: set num_classes",
                    "models",
                    f"{side}_model",
                )
    if len(set(classes.values())) == 2:
        findings.warning(
            f"teacher and student differ in classes: {classes['teacher']} and {classes['student']}",
            "models",
            "teacher_model",
        )
    if classes:
        findings.fine(f"batch {' x '.join(map(str, seen.images))}, {min(classes.values())} classes, labels fit")


def _terms(findings: Findings, step: TrainingStep, seen: Observed, path: tuple[str, ...]) -> None:
    at = (*path, "criterion", "kwargs", "sub_terms")
    for term in seen.terms:
        where = (*at, term.name)
        if term.value is None:
            findings.error(term.failure, *where)
            continue
        value = float(term.value.detach())
        if not math.isfinite(value):
            findings.error(f"the term is {value} in the first step", *where)
        elif value == 0 and not term.gradient:
            findings.error("the term is 0 and has no gradient: it trains nothing", *where)
        elif term.gradient is None and not _trains_elsewhere(term, seen):
            findings.error("the term has no gradient: nothing of the student is in it", *where)
        elif term.gradient is not None and not math.isfinite(term.gradient):
            findings.error("the term's gradient is not finite in the first step", *where)
        else:
            _compare(findings, term, where)


def _trains_elsewhere(term: Term, seen: Observed) -> bool:
    """Tell whether a term without a graph reports what the student has back-propagated itself."""
    return term.value is not None and not term.value.requires_grad and bool(seen.pushed)


def _compare(findings: Findings, term: Term, where: tuple[object, ...]) -> None:
    if not term.gradient or not term.beside:
        return
    ratio = term.gradient / term.beside
    if ratio >= FAR or ratio <= 1 / FAR:
        findings.warning(
            f"the term's gradient is {ratio:.2g} times the cross-entropy's at the {term.place}: is its weight, "
            f"{term.weight:g}, the one that is meant?",
            *where,
            "weight",
        )


def _teacher(findings: Findings, step: TrainingStep, seen: Observed, path: tuple[str, ...]) -> None:
    teacher = getattr(step.box, "org_teacher_model", None)
    if teacher is None:
        return
    trains = [name for name in seen.teacher_trains if _matters(step.box.teacher_model, name)]
    if trains:
        findings.error(
            f"the teacher runs in training mode ({', '.join(repr(n) for n in trains[:3])}): add pre_epoch_process: "
            "kd_pre_epoch",
            *path,
            "teacher",
        )
    optimised = {id(p) for group in step.box.optimizer.param_groups for p in group["params"]}
    if any(id(p) in optimised for p in teacher.parameters()):
        findings.error("the optimizer holds parameters of the teacher: add requires_grad: False", *path, "teacher")
    elif not trains and not any(p.requires_grad for p in teacher.parameters()):
        findings.fine("the teacher is frozen and in eval mode")


def _matters(teacher: nn.Module, name: str) -> bool:
    """Tell whether a module does something else in training mode."""
    module = dict(teacher.named_modules()).get(name)
    return isinstance(module, (_BatchNorm, torch.nn.modules.dropout._DropoutNd)) or type(module).__name__ == "DropPath"


def _trained(findings: Findings, step: TrainingStep, seen: Observed, path: tuple[str, ...]) -> None:
    optimised = {id(p) for group in step.box.optimizer.param_groups for p in group["params"]}
    named = {**_parameters("student", [("", step.student)]), **_parameters("loss", step.terms.items())}
    missed = [name for name, p in named.items() if p.requires_grad and id(p) not in optimised]
    if missed:
        findings.error(
            f"{len(missed)} parameters are in no group of the optimizer and stay as they are: {_some(missed)}",
            *path,
            "optimizer",
        )
    idle = [
        name
        for name, p in step.student.named_parameters()
        if p.requires_grad and id(p) in optimised and name not in seen.pushed
    ]
    whole = sum(p.requires_grad for p in step.student.parameters())
    if idle and len(idle) == whole:
        findings.error("no parameter of the student has a gradient", *path, "criterion")
    elif idle:
        findings.warning(f"{len(idle)} of {whole} parameters of the student have no gradient: {_some(idle)}", *path)
    if not missed and not idle:
        findings.fine(f"all {whole} parameter tensors of the student get a gradient and are in the optimizer")


def _parameters(prefix: str, modules: Iterable[tuple[str, nn.Module]]) -> dict[str, Tensor]:
    return {
        ".".join(filter(None, (prefix, name, own))): p
        for name, module in modules
        for own, p in module.named_parameters()
    }


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def stage_path(built: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the YAML path of the stage that a step is taken of: the first."""
    name = next(iter(stages(built["train"])))
    return ("train", name) if name else ("train",)
