"""Run a few steps of a stage and report the findings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ..._tables import markdown_table
from ...bench.steps.training_step import TrainingStep
from ...config.build import build_test_loader, evaluation_teacher
from ...config.config import Config
from ...fitting.data import few_images
from ...host.boxes.processes import kd_pre_epoch
from ...host.teachers.parts import frozen_tensors
from ...runtime.evaluate import evaluate
from ...runtime.metrics import ACCURACY
from ..findings import Findings
from ..rules.balance import check_balance
from ..rules.kd_layers import check_kd_layers
from ..rules.steps import check_batch, check_observed, check_teacher_accuracy, check_teacher_input, check_told
from ..stage import Stage, all_stages
from .culprit import culprit, forward_culprit
from .estimate import Estimate, estimate, small_loader
from .observed import ForwardError, Term, observe

SMALL_SIDE, SMALL, LARGE = 64, 64, 8
"""Batch size of a check: 64 for images up to 64 pixels wide, else 8."""

TERM_HEADS = ("term", "weight", "value", "gradient, weighted", "x cross-entropy's", "at the student's")


@dataclass
class StageReport:
    """Results of the steps of a stage: the loss terms of one step, remarks on them, and estimated time and memory."""

    name: str
    terms: list[Term] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    estimate: Estimate | None = None

    def text(self) -> list[str]:
        """Return a table of the terms, the remarks and the estimate, if present."""
        found = ["\n".join(markdown_table(TERM_HEADS, [_cells(term) for term in self.terms]))] if self.terms else []
        found += self.remarks
        return found if self.estimate is None else [*found, self.estimate.text()]

    def as_dict(self) -> dict[str, Any]:
        """Return the report for a JSON file."""
        terms = [{**vars(term), "value": _number(term.value)} for term in self.terms]
        estimated = self.estimate and asdict(self.estimate)
        return {"stage": self.name, "terms": terms, "remarks": self.remarks, "estimate": estimated}


def run_stage(
    findings: Findings, config: Config, stage: Stage, *, device: torch.device, images: int | None, fake_data: bool
) -> StageReport:
    """Inspect one step of a stage, run a few more, and evaluate a few images.

    ``images`` is the largest batch size; None chooses it by image size. ``fake_data``: data and weights are random.
    """
    report = StageReport(stage.path[-1])
    try:
        step = TrainingStep(config, device, stage=stage.number)
    except Exception as error:
        with findings.caught(*culprit(stage, error)):
            raise error
        return report
    with step, findings.caught(*stage.path):
        try:
            _take_steps(findings, step, stage, report, images, fake_data)
        except ForwardError as error:
            findings.failure(error, *forward_culprit(stage, error, error.side))
    return report


def _take_steps(
    findings: Findings, step: TrainingStep, stage: Stage, report: StageReport, images: int | None, fake_data: bool
) -> None:
    given = None
    with findings.caught(*stage.path, "train_data_loader"):
        loader = step.box.train_data_loader
        epoch_images = len(loader.sampler) if hasattr(loader.sampler, "__len__") else len(loader.dataset)
        batch = small_loader(step, images or stage.task.most_images or _images(loader.dataset))
        given = step.next_batch()
    if given is None:
        return
    check_batch(findings, step, batch, epoch_images, stage)
    # torchdistill's own scripts leave the teacher in training mode, as it is built.
    left_alone = stage.section.get("pre_epoch_process") != kd_pre_epoch.__name__
    if left_alone:
        check_told(findings, step, stage)
    seen = observe(step, given, teacher_trains=left_alone)
    report.terms = seen.terms
    check_observed(findings, step, seen, stage, noise=fake_data)
    check_teacher_input(findings, step, stage)
    check_kd_layers(findings, step, seen, stage)
    if not fake_data:  # with random weights, the sizes of the gradients say little
        report.remarks = check_balance(findings, seen, stage)
        check_teacher_accuracy(findings, seen, stage)
    if any(not term.sound for term in seen.terms):
        return
    before = _teacher_state(step)
    report.estimate = estimate(step, batch, epoch_images, moves=not fake_data and len(given[0]) >= batch)
    if not seen.teacher_trains:
        after = _teacher_state(step)
        changed = [name for name, tensor in before.items() if not torch.equal(tensor, after[name])]
        if changed:
            findings.error(f"the training steps changed the frozen teacher: {changed[0]}", *stage.path, "teacher")
    _evaluate(findings, step, stage, report.estimate.images)


def _evaluate(findings: Findings, step: TrainingStep, stage: Stage, images: int) -> None:
    """Evaluate student and teacher on a few images of the evaluation sets."""
    loaders = {(*stage.path, "val_data_loader"): step.box.val_data_loader}
    sections = [other.section for other in all_stages(stage.built)]
    if stage.number == len(sections) - 1 and (stage.built.get("test") or {}).get("test_data_loader"):
        with findings.caught("test", "test_data_loader"):
            loaders["test", "test_data_loader"] = build_test_loader(step.built, step.procs)
    metric = stage.built.get("metric", ACCURACY)
    # Like the trainer, evaluate without the wrapper of the stage, which may be empty.
    student = step.box.org_student_model if stage.has_teacher else step.box.org_model
    before, done = len(findings), set()
    for place, loader in loaders.items():
        if loader is None or id(loader.dataset) in done:
            continue
        done.add(id(loader.dataset))
        with findings.caught(*place):
            evaluate(student, _few(loader, images), step.procs, metric=metric)
    if len(findings) == before:  # data on which the student fails would fail for the teacher too
        _evaluate_teacher(findings, step, stage, images, metric)


def _evaluate_teacher(findings: Findings, step: TrainingStep, stage: Stage, images: int, metric: str) -> None:
    """Evaluate the teacher on a few images, as the trainer does before training."""
    teacher = getattr(step.box, "org_teacher_model", None)
    with findings.caught(*stage.model_path("teacher")):
        loader = build_test_loader(step.built, step.procs, fallback=step.box.val_data_loader)
        if teacher is None or loader is None or stage.number:
            return
        seen = evaluation_teacher(step.built, teacher, step.procs)
        evaluate(seen, _few(loader, images), step.procs, metric=metric)


def _few(loader: DataLoader, images: int) -> DataLoader:
    return DataLoader(few_images(loader.dataset, images), images, collate_fn=loader.collate_fn)


def _teacher_state(step: TrainingStep) -> Mapping[str, Tensor]:
    teacher = getattr(step.box, "org_teacher_model", None)
    if teacher is None:
        return {}
    state = teacher.state_dict()
    return {name: state[name].clone() for name in frozen_tensors(teacher)}


def _images(dataset: Any) -> int:
    """Return the batch size of the check, by image size."""
    image = dataset[0][0]
    while isinstance(image, (tuple, list)):
        image = image[0]
    return SMALL if not isinstance(image, Tensor) or image.shape[-1] <= SMALL_SIDE else LARGE


def _cells(term: Term) -> tuple[str, ...]:
    ratio = None if not term.gradient or not term.beside else term.gradient / term.beside
    numbers = (term.weight, _number(term.value), term.gradient, ratio)
    return (term.name, *(f"{x:.3g}" if x is not None else "-" for x in numbers), term.place or "-")


def _number(value: Tensor | None) -> float | None:
    return None if value is None else float(value.detach())
