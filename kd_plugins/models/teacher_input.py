"""Mapping of the student's batches to a teacher's normalisation and input size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .._checks import check_choice, map_size
from .timm import pretrained_input

INTERPOLATIONS = ("bicubic", "bilinear")
OWN_INPUT = "teacher_input"
"""Name of the :class:`TeacherInput` submodule in a model that prepares its own batches."""


class TeacherInput(nn.Module):
    """Map a batch of the student to the normalisation and size of a teacher.

    It has no parameters and no entries in the state dict. Keywords and errors are those of
    :class:`~kd_plugins.host.teachers.wrapper.FrozenTeacher`; without ``mean`` and ``std`` the normalisation of
    ``teacher`` is used.
    """

    scale: Tensor
    shift: Tensor

    def __init__(
        self,
        teacher: nn.Module,
        *,
        student_mean: Sequence[float] | None = None,
        student_std: Sequence[float] | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        input_size: int | Sequence[int] | None = None,
        interpolation: str = "bicubic",
        antialias: bool = True,
    ) -> None:
        check_choice("interpolation", interpolation, INTERPOLATIONS)
        super().__init__()
        self._asleep = False
        self.input_size = None if input_size is None else map_size("input_size", input_size)
        self.interpolation, self.antialias = interpolation, antialias
        affine = _affine(teacher, student_mean, student_std, mean, std)
        self.renormalises = affine is not None
        scale, shift = affine if affine is not None else (torch.ones(1, 1, 1), torch.zeros(1, 1, 1))
        self.register_buffer("scale", scale, persistent=False)
        self.register_buffer("shift", shift, persistent=False)
        if input_of(teacher) is not None and (student_mean is not None or self.input_size is not None):
            raise ValueError(
                f"the teacher ({type(teacher).__name__}) is a frozen_teacher, which normalises and resizes its own "
                "batches: set student_mean, student_std and input_size either there or here, not in both places"
            )

    def forward(self, batch: Tensor) -> Tensor:
        """Map a batch (B, c, H, W)."""
        if self.renormalises:
            if len(self.scale) not in (1, batch.shape[1]):
                raise ValueError(
                    "mean and std, and the student's, must have one entry per image channel: "
                    f"{batch.shape[1]}, found {len(self.scale)}"
                )
            batch = torch.addcmul(self.shift, batch, self.scale)
        if self.input_size is not None and tuple(batch.shape[-2:]) != self.input_size:
            batch = F.interpolate(
                batch, self.input_size, mode=self.interpolation, align_corners=False, antialias=self.antialias
            )
        return batch

    def extra_repr(self) -> str:
        """Show the changes to the batch."""
        return f"renormalises={self.renormalises}, input_size={self.input_size}"


def input_of(model: nn.Module) -> TeacherInput | None:
    """Return a model's own :class:`TeacherInput`; None if it does not prepare its batches."""
    own = model._modules.get(OWN_INPUT)
    return own if isinstance(own, TeacherInput) else None


def prepare_its_input(model: nn.Module, **kwargs: Any) -> None:
    """Make a model prepare every input batch with a submodule ``teacher_input``, a :class:`TeacherInput`.

    The model is changed in place; its class, its module paths and the names in its state dict stay the same.
    """
    if OWN_INPUT in dict(model.named_children()):
        raise ValueError(f"{type(model).__name__} already has a {OWN_INPUT!r}: frozen_teacher cannot wrap it")
    model.add_module(OWN_INPUT, TeacherInput(model, **kwargs))
    model.register_forward_pre_hook(_prepared)


@contextmanager
def input_as_it_is(model: nn.Module) -> Iterator[None]:
    """Disable a model's own preparation of batches inside the block."""
    own = input_of(model)
    if own is not None:
        own._asleep = True
    try:
        yield
    finally:
        if own is not None:
            own._asleep = False


def _prepared(model: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    # Looked up in the called model, because a copy has its own submodule.
    own = input_of(model)
    return args if own is None or own._asleep or not args else (own(args[0]), *args[1:])


def _affine(
    teacher: nn.Module,
    student_mean: Sequence[float] | None,
    student_std: Sequence[float] | None,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
) -> tuple[Tensor, Tensor] | None:
    """Return scale and shift, (c, 1, 1) each, from the student's normalisation to the teacher's."""
    if student_mean is None and student_std is None:
        if mean is not None or std is not None:
            raise ValueError(
                "mean and std are the teacher's normalisation; also set student_mean and student_std, the data "
                "loader's normalisation"
            )
        return None
    own = pretrained_input(teacher)
    if own is not None:
        mean = own.mean if mean is None else mean
        std = own.std if std is None else std
    given = {"student_mean": student_mean, "student_std": student_std, "mean": mean, "std": std}
    missing = [name for name, value in given.items() if value is None]
    if missing:
        raise ValueError(
            f"{', '.join(missing)} must be given to renormalise: the normalisation of the teacher "
            f"({type(teacher).__name__}) is unknown, or the student's is incomplete"
        )
    numbers = [_per_channel(name, value) for name, value in given.items()]
    if numbers[:2] == numbers[2:]:
        return None
    counts = [len(values) for values in numbers]
    if len(set(counts)) != 1:
        raise ValueError(
            "student_mean, student_std, mean and std must have one entry per channel each, found "
            + ", ".join(map(str, counts))
        )
    m_s, s_s, m_t, s_t = torch.tensor(numbers, dtype=torch.float64)[..., None, None]
    return (s_s / s_t).float(), ((m_s - m_t) / s_t).float()


def _per_channel(name: str, values: Any) -> list[float]:
    if isinstance(values, (str, Mapping)) or not isinstance(values, Sequence) or not values:
        raise ValueError(f"{name} must be a list of numbers, one per channel, found {values!r}")
    numbers = [float(value) for value in values]
    if name.endswith("std") and min(numbers) <= 0:
        raise ValueError(f"{name} must be above 0 in every channel, found {numbers}")
    return numbers
