"""Pre-epoch process that adds what torchdistill's own does not do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from torchdistill.common.constant import def_logger
from torchdistill.core.interfaces.pre_epoch_proc import (
    default_pre_epoch_process_with_teacher,
    default_pre_epoch_process_without_teacher,
)

from ..letkd.statistics import fit_for_box
from ..losses.mid_level import MidLevelLoss
from ..teachers.parts import set_modes

TOLD = ("set_epoch", "listen_to", "set_term_weights", "set_backward_scale")
"""Methods that are called on submodules before an epoch."""

logger = def_logger.getChild(__name__)


def kd_pre_epoch(box: Any, epoch: int | None = None, **kwargs: Any) -> None:
    """Prepare a box for an epoch: torchdistill's default process and the steps that it lacks.

    After the default process it

    - fits the statistics of letKD terms with ``statistics: auto``,
    - puts the frozen parts of the teacher into eval mode; torchdistill leaves them in training mode, where the running
      statistics of batch norms drift,
    - moves the criterion's modules to the device,
    - passes the epoch to every ``set_epoch`` method of a loss or submodule, and the teacher to every ``listen_to``,
    - passes the weights of the criterion's terms to ``set_term_weights`` and the gradient accumulation's factor to
      ``set_backward_scale``, for parts of the student that back-propagate a loss themselves.

    Args:
        box: torchdistill's training or distillation box.
        epoch: number of the epoch that begins, from 0.
        kwargs: passed to torchdistill's process.

    Example:
        In a config, under ``train``::

            pre_epoch_process: kd_pre_epoch
    """
    if _has_teacher(box):
        default_pre_epoch_process_with_teacher(box, epoch=epoch, **kwargs)
        fit_for_box(box, criterion_terms(box.criterion))
    else:
        default_pre_epoch_process_without_teacher(box, epoch=epoch, **kwargs)
    complete_pre_epoch(box, epoch)


def complete_pre_epoch(box: Any, epoch: int | None) -> None:
    """Run the steps that torchdistill's own pre-epoch process lacks; calling it twice is harmless."""
    if _has_teacher(box):
        set_modes(box.teacher_model)
        both = (box.org_teacher_model, box.org_student_model)
        if not epoch and all(p.requires_grad for model in both for p in model.parameters()):
            logger.warning(
                "All parameters of the teacher require a gradient, so it is trained with the student. Set "
                "train.teacher.requires_grad: False to freeze it."
            )
    for criterion in (box.criterion, *criterion_terms(box.criterion).values()):
        criterion.to(box.device)
    if epoch is not None:
        for module in _with_method(box, "set_epoch"):
            module.set_epoch(epoch)
    if _has_teacher(box):
        for module in _with_method(box, "listen_to"):
            module.listen_to(box.teacher_model)
    for module in _with_method(box, "set_term_weights"):
        module.set_term_weights(tensor_weights(box.criterion))
    set_backward_scale(box)


def set_backward_scale(box: Any, scale: float | Tensor = 1.0) -> None:
    """Pass the loss scale, divided by the gradient accumulation steps, to every ``set_backward_scale`` method."""
    for module in _with_method(box, "set_backward_scale"):
        module.set_backward_scale(scale / (box.grad_accum_step or 1))


def tensor_weights(criterion: nn.Module) -> dict[str, float]:
    """Return submodule path -> the weight with which the criterion adds that submodule's output to its value."""
    weights: dict[str, float] = {}
    for term, factor in getattr(criterion, "term_dict", {}).values():
        for part in term.modules():
            if isinstance(part, MidLevelLoss):
                for path, weight in part.tensor_weights().items():
                    weights[path] = weights.get(path, 0.0) + factor * weight
    return weights


def _has_teacher(box: Any) -> bool:
    return getattr(box, "teacher_model", None) is not None


def criterion_terms(criterion: nn.Module) -> dict[str, nn.Module]:
    """Return the terms of a high-level loss by their config names; torchdistill keeps them in a plain dict."""
    terms = getattr(criterion, "term_dict", {})
    return {name: term for name, (term, _weight) in terms.items()}


def _with_method(box: Any, method: str) -> Iterator[Any]:
    parts = [getattr(box, name, None) for name in ("student_model", "teacher_model", "model")]
    for root in (*criterion_terms(box.criterion).values(), *parts):
        if isinstance(root, nn.Module):
            yield from (module for module in root.modules() if callable(getattr(module, method, None)))
