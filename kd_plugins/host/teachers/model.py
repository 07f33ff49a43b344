"""Config model of a frozen teacher that normalises and resizes its own input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from ...models import freeze
from ...models.logits import LogitsKey, give_logits
from ...models.teacher_input import prepare_its_input
from ..model_sections import nested_model


def frozen_teacher(
    *,
    model: Mapping[str, Any],
    student_mean: Sequence[float] | None = None,
    student_std: Sequence[float] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    input_size: int | Sequence[int] | None = None,
    interpolation: str = "bicubic",
    antialias: bool = True,
    logits: LogitsKey | None = None,
) -> nn.Module:
    """Build a frozen teacher that maps every batch to its own normalisation and input size.

    The wrapper :class:`~kd_plugins.host.teachers.wrapper.FrozenTeacher` does this only in training. torchdistill's
    example script tests the teacher without its wrapper, so it needs this model to test the teacher that the student
    learns from. The wrapper may still show ``points`` of it.

    ``model`` is any model of a config: ``key``, ``kwargs`` and, if the teacher's section has none, ``src_ckpt``. The
    other keywords are those of the wrapper.

    Returns:
        The teacher itself, frozen, with its own paths and state dict.

    Raises:
        ValueError: on an unknown model or keyword, weights that do not fit, an incomplete normalisation, or a value out
            of range.

    Example:
        In a config::

            teacher_model:
              key: frozen_teacher
              kwargs:
                model: {key: timm_model, kwargs: {model_name: vit_small_patch16_224, num_classes: 100}}
                student_mean: [0.5071, 0.4867, 0.4408]
                student_std: [0.2675, 0.2565, 0.2761]
                input_size: 224
              src_ckpt: ./checkpoints/vit_small_cifar100.pth
    """
    teacher = nested_model("model of frozen_teacher", model)
    prepare_its_input(
        teacher, student_mean=student_mean, student_std=student_std, mean=mean, std=std,
        input_size=input_size, interpolation=interpolation, antialias=antialias,
    )  # fmt: skip
    if logits is not None:
        give_logits(teacher, logits)
    return freeze(teacher)
