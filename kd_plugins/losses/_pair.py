"""Input checks and dtype conversion of the logit losses."""

from __future__ import annotations

from torch import Tensor

from .._checks import check_logit_pair
from ..transforms.precision import widen


def logit_pair(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Return both sides checked, in the student's precision (float32 at least), the teacher's detached.

    Raises:
        ValueError: unless both hold logits of one shape (B, C).
    """
    check_logit_pair(student, teacher)
    student = widen(student)
    return student, teacher.detach().to(student.dtype)
