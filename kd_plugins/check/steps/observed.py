"""Observe one training step: captured tensors, and value and gradient of each loss term."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from ..._errors import explain
from ...bench.memory import tensors_in
from ...bench.steps.training_step import Batch, TrainingStep
from ...host.boxes.processes import set_backward_scale
from ...host.teachers.parts import set_modes
from ...runtime.failures import StepError
from ...runtime.tasks import task_of
from ..stage import kwargs_of

IODicts = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Side -> module path -> ``"input"`` or ``"output"`` -> tensors."""

_Parts = dict[str, dict[int, float]]
"""Place -> number of a tensor there -> norm of a term's gradient; tensors that the term does not reach are absent."""


@dataclass
class Term:
    """Result of one loss term."""

    name: str
    weight: float
    value: Tensor | None = None  # unweighted; None if the term failed
    failure: str = ""
    gradient: float | None = None  # norm of the weighted term's gradient at place
    beside: float | None = None  # norm of the cross-entropy's gradient at place
    place: str = ""  # logits, a feature, or the weights
    own: bool = False  # computed by the student itself, as a detector's losses are

    @property
    def sound(self) -> bool:
        """Whether value and gradient are finite."""
        return self.value is not None and math.isfinite(self.value.item()) and math.isfinite(self.gradient or 0)


@dataclass
class Observed:
    """Observations of one step."""

    images: tuple[int, ...]  # shape of the batch
    targets: Any
    io: IODicts = field(default_factory=dict)  # tensors passed to the criterion
    terms: list[Term] = field(default_factory=list)
    teacher_trains: list[str] = field(default_factory=list)  # its modules in training mode in the forward pass
    reached: set[str] = field(default_factory=set)  # trained parameters with a gradient
    pushed: set[str] = field(default_factory=set)  # trained parameters with a non-zero gradient
    compared: dict[str, float] = field(default_factory=dict)  # term -> norm of its weighted gradient, all at one place
    eager: bool = False  # the student back-propagates a part of the loss in its forward pass


class ForwardError(StepError):
    """The forward pass of one side, ``"teacher"`` or ``"student"``, failed."""

    def __init__(self, side: str, message: str) -> None:
        super().__init__(message)
        self.side = side


def observe(step: TrainingStep, given: Batch, *, teacher_trains: bool = False) -> Observed:
    """Run teacher, student and each loss term once on a batch, without changing weights.

    With ``teacher_trains``, the teacher is set to training mode first, to see whether it stays there.

    Raises:
        ForwardError: if the forward pass of teacher or student fails.
    """
    batch, targets, supplement = given
    found = Observed(task_of(step.box.train_data_loader).shape(batch), targets)
    box, captured = step.box, {}
    own: dict[str, Tensor] = {}
    running = "student"

    def capture(io_dict: Any, computed: Any, *_others: Any) -> Tensor:
        captured.update(io_dict)
        own.update(computed if getattr(box.criterion, "model_loss_factor", None) else {})
        return torch.zeros((), device=step.procs.device)

    def enter_teacher(module: nn.Module, _inputs: Any) -> None:
        nonlocal running
        running = "teacher"
        found.teacher_trains.extend(n for n, m in module.named_modules() if m.training)

    def leave_teacher(*_call: Any) -> None:
        nonlocal running
        running = "student"

    handles = []
    if getattr(box, "teacher_model", None) is not None:
        handles.append(box.teacher_model.register_forward_pre_hook(enter_teacher))
        handles.append(box.teacher_model.register_forward_hook(leave_teacher))
        if teacher_trains:
            box.teacher_model.train()
    forward = box.criterion.forward
    box.criterion.forward = capture
    try:
        set_backward_scale(box)
        box.forward_process(batch, targets, supplement)
    except Exception as error:
        shape = " x ".join(map(str, found.images))
        raise ForwardError(running, f"the {running} fails on a batch {shape}: {explain(error)}") from error
    finally:
        box.criterion.forward = forward
        for handle in handles:
            handle.remove()
        if handles and teacher_trains:
            set_modes(box.teacher_model)
    found.io = captured
    found.eager = any(p.grad is not None for p in step.student.parameters())
    for name, value in own.items():
        factor = box.criterion.model_loss_factor
        found.terms.append(Term(name, float(factor[name] if isinstance(factor, dict) else factor), value, own=True))
    weights = {name: weight for name, (_, weight) in getattr(box.criterion, "term_dict", {}).items()}
    for name, term in step.terms.items():
        found.terms.append(_run(name, weights[name], term, captured, targets))
    _gradients(found, trained_parameters(step), next(iter(cross_entropies(step.stage)), ""))
    step.box.optimizer.zero_grad()
    return found


def _run(name: str, weight: float, term: nn.Module, io: IODicts, targets: Tensor) -> Term:
    result = Term(name, float(weight))
    try:
        value = term(io.get("student", {}), io.get("teacher", {}), targets)
    except Exception as error:
        result.failure = explain(error)
        if isinstance(error, KeyError):
            hooked = {f"{side}: {', '.join(map(repr, paths)) or 'nothing'}" for side, paths in io.items()}
            result.failure = f"the loss reads {error}, which is not hooked; hooked modules: {'; '.join(sorted(hooked))}"
        return result
    if isinstance(value, Tensor) and value.numel() == 1:
        result.value = value.reshape(())
    else:
        found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        result.failure = f"a loss must be a single number, found {found}"
    return result


def trained_parameters(step: TrainingStep) -> dict[str, nn.Parameter]:
    """Return the parameters that a stage trains, by name: those of the student, its adapters and the teacher."""
    sides = [("", step.student), ("teacher: ", getattr(step.box, "teacher_model", None))]
    named = [(side + name, p) for side, model in sides if model is not None for name, p in model.named_parameters()]
    return {name: p for name, p in named if p.requires_grad}


def _gradients(found: Observed, parameters: Mapping[str, nn.Parameter], cross_entropy: str) -> None:
    """Fill in the terms' gradients: at the logits, else at a feature that both terms reach, else at the weights."""
    logits = found.io.get("student", {}).get(".", {}).get("output")
    features = {
        f"{path} {io}": tensor
        for path, kinds in found.io.get("student", {}).items()
        for io, value in kinds.items()
        for tensor in tensors_in(value)
        if path != "." and tensor.requires_grad
    }
    spots = {name: [tensor] for name, tensor in features.items()}
    if isinstance(logits, Tensor) and logits.requires_grad:
        spots = {"logits": [logits], **spots}
    spots["weights"] = list(parameters.values())
    parts = {term.name: _norms(term, spots) for term in found.terms}
    norms = {name: {spot: math.hypot(*there.values()) for spot, there in own.items()} for name, own in parts.items()}
    anchor = next((t for t in found.terms if t.name == cross_entropy and norms[t.name]), None)
    for term in found.terms:
        own = norms[term.name]
        common = [s for s in own if anchor is None or s in norms[anchor.name]]
        if common:
            term.place = common[0]
            term.gradient = own[term.place]
            term.beside = None if anchor is None else norms[anchor.name][term.place]
    found.compared = _compared({name: own for name, own in parts.items() if own}, spots)
    for name, p in parameters.items():
        if p.grad is not None:
            found.reached.add(name)
            if not bool(p.grad.abs().max() == 0):
                found.pushed.add(name)


def cross_entropies(stage: Mapping[str, Any]) -> list[str]:
    """Return the names of the cross-entropy terms of a stage's section."""
    terms = kwargs_of(stage["criterion"]).get("sub_terms") or {}
    return [name for name, term in terms.items() if term["criterion"]["key"] == "CrossEntropyLoss"]


def _compared(parts: Mapping[str, _Parts], spots: Iterable[str]) -> dict[str, float]:
    """Return the norm of each term's gradient at the first spot that all reach, over the tensors that all reach."""
    for spot in spots if parts else ():
        common = set.intersection(*(set(own.get(spot, ())) for own in parts.values()))
        if common:
            return {name: math.hypot(*(own[spot][number] for number in common)) for name, own in parts.items()}
    return {}


def _norms(term: Term, spots: Mapping[str, list[Tensor]]) -> _Parts:
    """Return the norms of a weighted term's gradient at the given tensors; accumulate the gradients of the weights."""
    if term.value is None or not term.value.requires_grad:
        return {}
    inputs = [tensor for tensors in spots.values() for tensor in tensors]
    try:
        gradients = torch.autograd.grad(term.weight * term.value, inputs, retain_graph=True, allow_unused=True)
    except Exception as error:
        term.value, term.failure = None, f"the backward pass fails: {explain(error)}"
        return {}
    found, rest = {}, iter(gradients)
    for name, tensors in spots.items():
        part = list(islice(rest, len(tensors)))
        there = {number: g.detach().float().norm().item() for number, g in enumerate(part) if g is not None}
        if there:
            found[name] = there
        if name == "weights":
            for tensor, gradient in zip(tensors, part, strict=True):
                if gradient is not None:
                    tensor.grad = gradient if tensor.grad is None else tensor.grad + gradient
    return found
