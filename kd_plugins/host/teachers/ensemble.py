"""Several frozen teachers as one model."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..._checks import check_keywords, named_keywords
from ...models import freeze
from ...models.logits import describe_output
from ...transforms.precision import widen
from ..model_sections import MODEL_KEYS, model_from_section
from .wrapper import FrozenTeacher

GIVEN = ("teacher_model", "device", "device_ids", "distributed", "student_mean", "student_std")
WITHOUT_WRAPPER = re.compile(r"^teachers\.\d+\.")
EXAMPLE = "[{key: cifar_resnet20, kwargs: {num_classes: 10}, src_ckpt: teacher.pt}, ...]"


class TeacherEnsemble(nn.Module):
    r"""Run several teachers on one batch; the output is the log of their mean probabilities.

    .. math:: v = \log \frac1M \sum_m \mathrm{softmax}(v^m)

    - :math:`v^m`: logits of teacher m, at the module path ``teachers.<m>``,
    - :math:`M`: number of teachers.

    A loss for one teacher can read this output, and its top-1 and top-5 are those of the mean probabilities. All
    teachers stay frozen. Names in the state dict are ``teachers.<m>.<name>``.
    """

    def __init__(self, teachers: Sequence[FrozenTeacher]) -> None:
        super().__init__()
        if not teachers:
            raise ValueError(f"teachers of teacher_ensemble must not be empty: {EXAMPLE}")
        self.teachers = nn.ModuleList(teachers)
        freeze(self)

    @torch.no_grad()
    def forward(self, batch: Tensor) -> Tensor:
        """Return the log of the teachers' mean probabilities (B, C) for images (B, c, H, W)."""
        logits = [teacher(batch) for teacher in self.teachers]
        if any(not isinstance(v, Tensor) or v.ndim != 2 or v.shape != logits[0].shape for v in logits):
            found = ", ".join(f"{describe_output(v)} of teachers.{m}" for m, v in enumerate(logits))
            raise ValueError(
                f"all teachers of an ensemble must return logits (B, C) of the same classes, found {found}; set the "
                "same num_classes for all"
            )
        logs = torch.stack([F.log_softmax(widen(v), dim=1) for v in logits])
        return logs.logsumexp(0) - math.log(len(logits))

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Load a state dict whose names leave out the wrappers around the teachers."""
        wrapped = rf"\g<0>{FrozenTeacher.inside}."
        inside = {WITHOUT_WRAPPER.sub(wrapped, name): value for name, value in state_dict.items()}
        return super().load_state_dict(inside, *args, **kwargs)


def teacher_ensemble(
    *,
    teachers: Sequence[Mapping[str, Any]],
    student_mean: Sequence[float] | None = None,
    student_std: Sequence[float] | None = None,
) -> TeacherEnsemble:
    """Build several teachers as one model.

    Hook paths: ``teachers.0``, ``teachers.1``, ... for the outputs, ``teachers.0.layer3`` for modules inside, and
    ``teachers.0.points.stage3`` for points.

    Args:
        teachers: one mapping per teacher: ``key``, ``kwargs`` and ``src_ckpt`` as for any config model, and optionally
            keywords of :class:`~kd_plugins.host.teachers.wrapper.FrozenTeacher`, such as ``mean`` or ``points``.
        student_mean: mean per channel that the data loader subtracts; needed if a teacher has its own ``mean``.
        student_std: standard deviation per channel that the data loader divides by.

    Returns:
        The model, from images (B, c, H, W) to log-probabilities (B, C), frozen.

    Raises:
        ValueError: on an empty list, an unknown keyword or model, or a checkpoint that is missing or does not fit; the
            message names the teacher.

    Example:
        In a config::

            teacher_model:
              key: teacher_ensemble
              kwargs:
                teachers:
                  - {key: cifar_resnet20, kwargs: {num_classes: 10}, src_ckpt: runs/cifar_resnet20/seed0/best.pt}
                  - {key: cifar_resnet32, kwargs: {num_classes: 10}, src_ckpt: runs/cifar_resnet32/seed0/best.pt}
    """
    if isinstance(teachers, (str, Mapping)) or not isinstance(teachers, Sequence) or not teachers:
        raise ValueError(f"teachers of teacher_ensemble must be a list such as {EXAMPLE}, found {teachers!r}")
    return TeacherEnsemble(
        [_teacher(number, entry, student_mean, student_std) for number, entry in enumerate(teachers)]
    )


def _teacher(
    number: int, entry: Any, student_mean: Sequence[float] | None, student_std: Sequence[float] | None
) -> FrozenTeacher:
    where = f"teachers[{number}] of teacher_ensemble"
    if not isinstance(entry, Mapping) or "key" not in entry:
        raise ValueError(f"{where} must be a mapping with a key, as in {EXAMPLE}, found {entry!r}")
    own = [name for name in named_keywords(FrozenTeacher)[0] if name not in GIVEN]
    check_keywords(where, entry, [*MODEL_KEYS, *own])
    keywords = {name: value for name, value in entry.items() if name not in MODEL_KEYS}
    try:
        return FrozenTeacher(model_from_section(entry), student_mean=student_mean, student_std=student_std, **keywords)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where} ({entry['key']}): {error}") from error
