"""Input checks of the losses with several teachers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from ..transforms.salient import check_salient, keep_salient
from ._inputs import logit_pair


def check_teachers(teachers: object) -> None:
    """Raise ``ValueError`` unless ``teachers`` is a list with one tensor per teacher."""
    if isinstance(teachers, (Tensor, str)) or not isinstance(teachers, Sequence) or not teachers:
        found = "an empty list" if isinstance(teachers, (list, tuple)) else type(teachers).__name__
        raise ValueError(f"teachers must be a list with a tensor of each teacher, such as [a, b, c], found {found}")


def check_mask(*, keep: float | int | None, by: str, fill: str = "zero") -> None:
    """Raise ``ValueError`` on invalid keywords of a mask; without ``keep`` there is no mask."""
    if keep is not None:
        check_salient(keep=keep, by=by, fill=fill)


def mask_teacher(x: Tensor, *, keep: float | int | None, by: str, fill: str = "zero") -> Tensor:
    """Return the salient entries of a teacher's tensor, or without ``keep`` the tensor itself."""
    return x if keep is None else keep_salient(x, keep=keep, by=by, fill=fill)


def teacher_logits(student: Tensor, teachers: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Return the student's logits and a list of each teacher's as :func:`logit_pair` does."""
    check_teachers(teachers)
    pairs = [told_apart(logit_pair, student, teacher, of=(n, len(teachers))) for n, teacher in enumerate(teachers)]
    return pairs[0][0], [teacher for _, teacher in pairs]


def told_apart(function: Callable[..., Any], *tensors: Tensor, of: tuple[int, int]) -> Any:
    """Return ``function(*tensors)``; an error names the teacher, number n (from 0) of M."""
    try:
        return function(*tensors)
    except ValueError as error:
        raise ValueError(f"teacher {of[0] + 1} of {of[1]}: {error}") from error
