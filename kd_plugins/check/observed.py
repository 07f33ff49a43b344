"""One training step of a config, taken apart: what the hooks captured and what each loss term makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ..bench.training_step import TrainingStep
from ..engine.config import explain
from ..engine.failures import MISFITS, explained
from ..host.processes import set_backward_scale

IODicts = Mapping[str, Mapping[str, Mapping[str, Any]]]


@dataclass
class Term:
    """What one loss term did.

    Attributes:
        name: in the config.
        weight: in the criterion.
        value: unweighted; None where it failed.
        failure: what it raised.
        gradient: norm of the weighted term's gradient where it is compared with the cross-entropy's; None without one.
        beside: norm of the cross-entropy's gradient there.
        place: where that is.
    """

    name: str
    weight: float
    value: Tensor | None = None
    failure: str = ""
    gradient: float | None = None
    beside: float | None = None
    place: str = ""


@dataclass
class Observed:
    """What a step showed.

    Attributes:
        images: shape of the batch.
        targets: labels of the batch.
        io: what the criterion got: side -> path -> input or output.
        terms: in the order of the config.
        teacher_trains: names of the teacher's modules that were in training mode during its forward.
        pushed: names of the student's parameters (adapters included) with a gradient other than zero.
    """

    images: tuple[int, ...]
    targets: Tensor
    io: IODicts = field(default_factory=dict)
    terms: list[Term] = field(default_factory=list)
    teacher_trains: list[str] = field(default_factory=list)
    pushed: set[str] = field(default_factory=set)


def observe(step: TrainingStep) -> Observed:
    """Run teacher, student and every term once, each term by itself; no weight changes.

    Raises:
        StepError: when the batch does not go through teacher or student.
    """
    batch, targets, supplement = step.next_batch()
    found = Observed(tuple(batch.shape), targets)
    box, captured = step.box, {}

    def capture(io_dict: Any, *_others: Any) -> Tensor:
        captured.update(io_dict)
        return batch.new_zeros(())

    handle = None
    if getattr(box, "teacher_model", None) is not None:
        handle = box.teacher_model.register_forward_pre_hook(
            lambda module, _inputs: found.teacher_trains.extend(n for n, m in module.named_modules() if m.training)
        )
    forward = box.criterion.forward
    box.criterion.forward = capture
    try:
        set_backward_scale(box)
        with explained("the forward of teacher or student"):
            box.forward_process(batch, targets, supplement)
    finally:
        box.criterion.forward = forward
        if handle is not None:
            handle.remove()
    found.io = captured
    weights = {name: weight for name, (_, weight) in getattr(box.criterion, "term_dict", {}).items()}
    for name, term in step.terms.items():
        found.terms.append(_run(name, weights[name], term, captured, targets))
    _gradients(found, step.student, _cross_entropy(step.stage))
    step.box.optimizer.zero_grad()
    return found


def _run(name: str, weight: float, term: nn.Module, io: IODicts, targets: Tensor) -> Term:
    result = Term(name, float(weight))
    try:
        value = term(io.get("student", {}), io.get("teacher", {}), targets)
    except (*MISFITS, KeyError) as error:
        result.failure = explain(error)
        return result
    if isinstance(value, Tensor) and value.ndim == 0:
        result.value = value
    else:
        found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        result.failure = f"a loss must be one number, found {found}"
    return result


def _gradients(found: Observed, student: nn.Module, cross_entropy: str) -> None:
    """Fill in the gradients of the terms: at the logits, else at a feature that both reach, else at the weights."""
    parameters = {name: p for name, p in student.named_parameters() if p.requires_grad}
    logits = found.io.get("student", {}).get(".", {}).get("output")
    features = {
        f"{path} {io}": tensor
        for path, kinds in found.io.get("student", {}).items()
        for io, value in kinds.items()
        for tensor in tree_leaves(value)
        if path != "." and isinstance(tensor, Tensor) and tensor.requires_grad
    }
    spots: dict[str, list[Tensor]] = {}
    if isinstance(logits, Tensor) and logits.requires_grad:
        spots["logits"] = [logits]
    spots.update({name: [tensor] for name, tensor in features.items()})
    spots["weights"] = list(parameters.values())
    norms = {term.name: _norms(term, spots) for term in found.terms}
    anchor = next((t for t in found.terms if t.name == cross_entropy and norms[t.name]), None)
    for term in found.terms:
        own = norms[term.name]
        common = [s for s in own if anchor is None or s in norms[anchor.name]]
        if common:
            term.place = common[0]
            term.gradient = own[term.place]
            term.beside = None if anchor is None else norms[anchor.name][term.place]
    for name, p in parameters.items():
        if p.grad is not None and bool(p.grad.abs().max() > 0):
            found.pushed.add(name)


def _cross_entropy(stage: Mapping[str, Any]) -> str:
    """Return the name of the term that is the cross-entropy with the labels, empty without one."""
    terms = (stage["criterion"].get("kwargs") or {}).get("sub_terms") or {}
    return next((name for name, term in terms.items() if term["criterion"]["key"] == "CrossEntropyLoss"), "")


def _norms(term: Term, spots: Mapping[str, list[Tensor]]) -> dict[str, float]:
    """Return the norm of a weighted term's gradient at the spots that it reaches, and add it to the weights'."""
    if term.value is None or not term.value.requires_grad:
        return {}
    inputs = [tensor for tensors in spots.values() for tensor in tensors]
    gradients = torch.autograd.grad(term.weight * term.value, inputs, retain_graph=True, allow_unused=True)
    found, position = {}, 0
    for name, tensors in spots.items():
        part = gradients[position : position + len(tensors)]
        position += len(tensors)
        there = [g.detach().float().flatten() for g in part if g is not None]
        if there:
            found[name] = torch.cat(there).norm().item()
        if name == "weights":
            for tensor, gradient in zip(tensors, part, strict=True):
                if gradient is not None:
                    tensor.grad = gradient if tensor.grad is None else tensor.grad + gradient
    return found
