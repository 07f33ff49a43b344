"""Input checks and dtype conversion of the losses."""

from __future__ import annotations

from torch import Tensor

from .._checks import check_logit_pair
from ..transforms.feature_map import match_size
from ..transforms.precision import widen

LENGTH_FLOOR = 1e-4
"""The gradient of shorter rows of features is bounded."""
FEATURES = {4: "a map of shape (B, c, H, W)", 2: "features of shape (B, D)", None: "features of shape (B, ...)"}
"""What a loss reads, by its number of dimensions; None for any."""


def logit_pair(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits of one shape (B, C) in the student's precision (float32 at least), the teacher's detached."""
    check_logit_pair(student, teacher)
    student = widen(student)
    return student, teacher.detach().to(student.dtype)


def check_features(argument: str, features: object, *, ndim: int | None = 4) -> None:
    """Raise ``ValueError`` unless ``features`` are a non-empty and floating-point, and of ``ndim`` dimensions."""
    shape = FEATURES[ndim]
    if not isinstance(features, Tensor):
        raise ValueError(f"{argument} must be {shape}, found {type(features).__name__}")
    if (features.ndim < 2 if ndim is None else features.ndim != ndim) or not features.numel():
        raise ValueError(f"{argument} must be {shape}, found {tuple(features.shape)}")
    if not features.is_floating_point():
        raise ValueError(f"{argument} must hold floating-point numbers, found {features.dtype}")


def feature_pair(student: Tensor, teacher: Tensor, *, ndim: int | None = 4) -> tuple[Tensor, Tensor]:
    """Return features of one batch on one device as :func:`logit_pair` does logits.

    Both are maps (B, c, H, W), or with ndim None features of any shape (B, ...).
    """
    check_features("student", student, ndim=ndim)
    check_features("teacher", teacher, ndim=ndim)
    if len(student) != len(teacher):
        raise ValueError(
            f"student and teacher must hold features of the same samples, found {len(student)} and {len(teacher)}"
        )
    if student.device != teacher.device:
        raise ValueError(f"student and teacher must be on one device, found {student.device} and {teacher.device}")
    student = widen(student)
    return student, teacher.detach().to(student.dtype)


def sized_pair(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Return both maps as :func:`feature_pair` does, pooled to the smaller height and width of the two."""
    return match_size(*feature_pair(student, teacher))
