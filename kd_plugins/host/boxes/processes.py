"""The pre-epoch process that closes gaps in torchdistill's life cycle."""

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
"""Methods of parts that are told something before an epoch."""

logger = def_logger.getChild(__name__)


def kd_pre_epoch(box: Any, epoch: int | None = None, **kwargs: Any) -> None:
    """Prepare a box for an epoch: what torchdistill does, and what it leaves out.

    Beside the default process this puts a teacher, or the parts of it that are not being trained, into eval mode
    (torchdistill leaves it in training mode, where the running statistics of its batch norms drift), moves modules
    inside the criterion to the device, tells the epoch to every loss and model part with a ``set_epoch`` method, makes
    the teacher known to every one with a ``listen_to`` method, and tells what the criterion does to a loss that a part
    of the student back-propagates itself: the weights of the terms to ``set_term_weights`` and the share of a step
    that a batch has to ``set_backward_scale``. Before that it fits what letKD terms with ``statistics: auto`` need, see
    :func:`~kd_plugins.host.letkd.statistics.fit_for_box`.

    Args:
        box: torchdistill's training or distillation box.
        epoch: number of the epoch that begins, from 0.
        kwargs: passed on to torchdistill's process.

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
    """Do what torchdistill's own pre-epoch process leaves out; doing it twice changes nothing.

    Args:
        box: torchdistill's training or distillation box.
        epoch: number of the epoch that begins, from 0.
    """
    if _has_teacher(box):
        set_modes(box.teacher_model)
        both = (box.org_teacher_model, box.org_student_model)
        if not epoch and all(p.requires_grad for model in both for p in model.parameters()):
            logger.warning(
                "The whole teacher is being trained, beside the student. Set train.teacher.requires_grad: False to "
                "keep it as it is."
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
    """Tell every part with a ``set_backward_scale`` method what the criterion's value is multiplied with.

    Args:
        box: torchdistill's training or distillation box.
        scale: of the loss scaling in mixed precision; the share of an accumulated step comes on top.
    """
    for module in _with_method(box, "set_backward_scale"):
        module.set_backward_scale(scale / (box.grad_accum_step or 1))


def tensor_weights(criterion: nn.Module) -> dict[str, float]:
    """Return path -> weight of what submodules of the student show and the criterion adds to its value."""
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
