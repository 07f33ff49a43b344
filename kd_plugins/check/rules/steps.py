"""Rules about an observed training step."""

from __future__ import annotations

import math
from typing import Any

import torch
from scipy.stats import binom
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ...bench.steps.training_step import TrainingStep
from ...data.inside import base_datasets, normalisation
from ...data.synthetic_images import SyntheticImages
from ...host.boxes.parameters import left_out, optimised_by, some_of
from ...host.boxes.processes import TOLD, criterion_terms
from ...host.model_sections import section_inside
from ...host.teachers.parts import set_modes
from ...models import pretrained_input
from ...models.teacher_input import input_of
from ..findings import Findings
from ..stage import Stage, kwargs_of
from ..steps.observed import Observed, Term, trained_parameters
from .masks import check_keep_of_features
from .models import classes_differ, close

GUESSES = 0.01
"""Significance level: a teacher that guesses is right this often with at most this probability."""

FAR, FAR_ON_NOISE = 1e3, 1e5
"""Ratio between the gradients of a term and of the cross-entropy, in either direction, that is reported."""


def check_observed(
    findings: Findings, step: TrainingStep, seen: Observed, stage: Stage, *, noise: bool = False
) -> None:
    """Check what was observed in one step; with ``noise`` (random data and weights), gradient sizes say little."""
    _hooks(findings, seen, stage)
    _labels(findings, step, seen, stage)
    check_keep_of_features(findings, seen.io, stage)
    _terms(findings, seen, stage, FAR_ON_NOISE if noise else FAR)
    _teacher(findings, step, seen, stage)
    _trained(findings, step, seen, stage)


def check_batch(findings: Findings, step: TrainingStep, batch: int, epoch_images: int, stage: Stage) -> None:
    """Add a finding if a student with batch norm gets a batch of one image."""
    at = (*stage.path, "train_data_loader", "kwargs", "batch_size")
    if not any(isinstance(module, _BatchNorm) for module in step.student.modules()):
        return
    if batch == 1:
        findings.error("batch norm cannot train on batches of one image: raise batch_size", *at)
    elif epoch_images % batch == 1 and not step.box.train_data_loader.drop_last:
        findings.warning(
            f"the last batch of an epoch has one image ({epoch_images} in batches of {batch}), on which batch norm "
            "cannot train: change batch_size, or add drop_last: True", *at,
        )  # fmt: skip


def check_told(findings: Findings, step: TrainingStep, stage: Stage) -> None:
    """Add parts that need the epoch or the teacher, which torchdistill's own pre-epoch process does not pass on."""
    parts = {f"the term {name}": term for name, term in criterion_terms(step.box.criterion).items()}
    student = getattr(step.box, "student_model", None)
    if student is not None:
        parts[type(student).__name__] = student
    deaf = [name for name, part in parts.items() if any(hasattr(m, told) for m in part.modules() for told in TOLD)]
    if deaf:
        findings.warning(
            f"torchdistill's own script does not pass the epoch or the teacher to {', '.join(deaf)}: add "
            "pre_epoch_process: kd_pre_epoch", *stage.path,
        )  # fmt: skip


def check_teacher_input(findings: Findings, step: TrainingStep, stage: Stage) -> None:
    """Add a finding if the teacher was trained with another normalisation than the loader's."""
    section = section_inside(stage.built["models"].get("teacher_model") or {})
    teacher = getattr(step.box, "org_teacher_model", None)
    if teacher is None or not kwargs_of(section).get("pretrained"):
        return  # for the user's own weights, the normalisation is unknown
    own, loaded = pretrained_input(teacher), normalisation(_training_data(step, stage))
    around = {step.box.teacher_model, teacher}
    if own is None or any(prepares is not None and prepares.renormalises for prepares in map(input_of, around)):
        return
    mean, std = loaded or ([0.0] * len(own.mean), [1.0] * len(own.std))
    if not close([*own.mean, *own.std], [*mean, *std]):
        findings.warning(
            f"the teacher's pretrained weights expect mean {list(own.mean)} and std {list(own.std)}, but the loader "
            + (f"normalises with {mean} and {std}" if loaded else "does not normalise")
            + ": add auxiliary_model_wrapper: {key: FrozenTeacher, kwargs: "
            f"{{student_mean: {mean}, student_std: {std}}}}}",
            *stage.path, "teacher",
        )  # fmt: skip


def check_teacher_accuracy(findings: Findings, seen: Observed, stage: Stage) -> None:
    """Add a finding if the teacher is no better than chance on a batch."""
    logits = seen.io.get("teacher", {}).get(".", {}).get("output")
    if not isinstance(logits, Tensor) or logits.ndim != 2 or not isinstance(seen.targets, Tensor):
        return
    if any(isinstance(base, SyntheticImages) and base.is_noise for base in base_datasets(stage.data)):
        return
    if seen.targets.ndim != 1 or len(logits) != len(seen.targets):
        return
    images, classes = logits.shape
    right = int((logits.argmax(1) == seen.targets).sum())
    by_chance, all_by_chance = (binom.sf(count - 1, images, 1 / classes) for count in (right, images))
    # With too few images, even a perfect teacher cannot be told from a guess.
    if by_chance > GUESSES >= all_by_chance:
        findings.warning(
            f"the teacher is right on {right} of {len(logits)} training images, no better than chance: check its "
            "weights, normalisation and input size",
            *stage.path, "teacher",
        )  # fmt: skip


def _training_data(step: TrainingStep, stage: Stage) -> Any:
    """Return the training set without its wrappers; that of the loader if the stage names none."""
    return base_datasets(step.box.train_data_loader.dataset if stage.data is None else stage.data)[0]


def _hooks(findings: Findings, seen: Observed, stage: Stage) -> None:
    count = 0
    for side in ("teacher", "student") if stage.has_teacher else ("student",):
        key, got = stage.side_key(side), seen.io.get(side, {})
        for io, paths in (stage.side(side).get("forward_hook") or {}).items():
            for index, module_path in enumerate(paths or []):
                count += 1
                if got.get(module_path, {}).get(io) is None:
                    findings.error(
                        f"the {key}'s {module_path!r} is not called in the forward pass, so its {io} is not captured: "
                        "hook a module that is called",
                        *stage.path, key, "forward_hook", io, index,
                    )  # fmt: skip
    if count:
        findings.fine(f"{count} hooks fire")


def _labels(findings: Findings, step: TrainingStep, seen: Observed, stage: Stage) -> None:
    targets = seen.targets
    if not isinstance(targets, Tensor) or targets.ndim != 1 or targets.is_floating_point():
        return
    named = getattr(_training_data(step, stage), "classes", None)
    highest, lowest = int(targets.max()), int(targets.min())
    wanted = max(highest + 1, len(named) if isinstance(named, (list, tuple)) else 0)
    classes = {}
    for side in ("teacher", "student"):
        logits = seen.io.get(side, {}).get(".", {}).get("output")
        if not isinstance(logits, Tensor) or logits.ndim != 2:
            continue
        classes[side] = found = logits.shape[1]
        at = stage.model_path(side)
        if lowest < 0:
            findings.error(f"label {lowest} is not a class: labels start at 0", *at)
        elif found < wanted or named is not None:
            classes_differ(findings, side, found, wanted, *at)
    if named is None and len(set(classes.values())) == 2:
        findings.warning(
            f"teacher and student have different numbers of classes, {classes['teacher']} and {classes['student']}: "
            "set num_classes", *stage.model_path("teacher"),
        )  # fmt: skip
    if classes and min(classes.values()) >= wanted:
        findings.fine(f"batch {' x '.join(map(str, seen.images))}, {min(classes.values())} classes, labels fit")


def _terms(findings: Findings, seen: Observed, stage: Stage, far: float) -> None:
    for term in seen.terms:
        where = (*stage.terms_path, term.name)
        if term.own:
            where = (*stage.terms_path[:-1], "model_term")
        if term.value is None:
            findings.error(term.failure, *where)
            continue
        value = float(term.value.detach())
        if not math.isfinite(value):
            findings.error(f"the term is {value} in the first step", *where)
        elif value == 0 and not term.gradient and term.weight:
            findings.error("the term is 0 and has no gradient: it trains nothing", *where)
        elif term.gradient is None and (not seen.eager or term.value.requires_grad):
            # Otherwise the term only reports a loss that the student back-propagates itself.
            findings.error("the term has no gradient: it does not depend on the student", *where)
        elif term.gradient is not None and not math.isfinite(term.gradient):
            findings.error("the term's gradient is not finite in the first step", *where)
        elif term.gradient == 0 and term.weight:
            findings.warning(f"the term's gradient is 0 at the {term.place} in the first step", *where)
        elif not any(f.place == ".".join(where) and f.message.startswith("With two classes") for f in findings):
            _compare(findings, term, where, far)  # the finding about two classes already explains the gradient


def _compare(findings: Findings, term: Term, where: tuple[object, ...], far: float) -> None:
    if not term.gradient or not term.beside:
        return
    ratio = term.gradient / term.beside
    if ratio >= far or ratio <= 1 / far:
        findings.warning(
            f"the term's gradient is {ratio:.2g} times the cross-entropy's at the {term.place}: check its weight "
            f"({term.weight:g})",
            *where, "weight",
        )  # fmt: skip


def _teacher(findings: Findings, step: TrainingStep, seen: Observed, stage: Stage) -> None:
    teacher = getattr(step.box, "org_teacher_model", None)
    if teacher is None:
        return
    set_modes(step.box.teacher_model)
    trains = [name for name in seen.teacher_trains if _frozen_and_matters(step.box.teacher_model, name)]
    if trains:
        at = "pre_epoch_process" if "pre_epoch_process" in stage.section else "teacher"
        findings.error(
            f"the frozen teacher is in training mode ({some_of([repr(name) for name in trains])}): its outputs are "
            "noisy and its batch statistics change. Add pre_epoch_process: kd_pre_epoch, or frozen: True to its kwargs",
            *stage.path, at,
        )  # fmt: skip
    optimised = optimised_by(step.box.optimizer)
    if stage.trains("teacher"):
        return  # the rules on sections report this
    if any(id(p) in optimised for p in teacher.parameters()):
        message = "the optimizer has parameters of the teacher: remove them from its module_wise_configs"
        findings.error(message, *stage.path, "optimizer")
    elif not trains and not any(p.requires_grad for p in teacher.parameters()):
        findings.fine("the teacher is frozen and in eval mode")


def _frozen_and_matters(teacher: nn.Module, name: str) -> bool:
    """Tell whether a module is frozen and behaves differently in training mode."""
    module = teacher.get_submodule(name)
    if module.training:
        return False
    if isinstance(module, torch.nn.modules.dropout._DropoutNd):
        return module.p > 0
    return isinstance(module, _BatchNorm) or type(module).__name__ == "DropPath"


def _trained(findings: Findings, step: TrainingStep, seen: Observed, stage: Stage) -> None:
    optimised = optimised_by(step.box.optimizer)
    own, whose = trained_parameters(step), "student and teacher"
    if "requires_grad" not in stage.side("teacher") or not stage.trains("teacher"):
        # A teacher that is trained by mistake is reported already.
        own, whose = {name: p for name, p in step.student.named_parameters() if p.requires_grad}, "student"
    trainable = list(own)
    missed = left_out(step.student, step.terms, optimised)
    if missed:
        findings.error(missed, *stage.path, "optimizer")
    if any(term.value is None for term in seen.terms):
        return  # the parameters that a failed term reaches are unknown
    if not seen.pushed:
        findings.error(f"no parameter of the {whose} has a gradient", *stage.path, "criterion")
        return
    idle = [name for name in trainable if id(own[name]) in optimised and name not in seen.reached]
    if idle:
        message = f"{len(idle)} of {len(trainable)} parameters of the {whose} get no gradient: {some_of(idle)}"
        findings.warning(message, *stage.path, "criterion")
    if not missed and not idle:
        frozen = sum(not p.requires_grad for p in step.student.parameters())
        rest = f", {frozen} are frozen" if frozen else ""
        findings.fine(f"{len(trainable)} parameters of the {whose} have a gradient and are in the optimizer{rest}")
