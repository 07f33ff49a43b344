"""The demo's configs: recipes on digits, with the demo's own checkpoint and number of epochs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .._checks import check_at_least
from ..recipes import Request, recipe
from ..recipes.data.digits import (
    IMAGES,
    STUDENT_EPOCHS,
    STUDENT_IMAGES,
    TEACHER,
    TEACHER_CHECKPOINT,
    TEACHER_EPOCHS,
    VALIDATED_FROM,
)
from .methods import BASELINE, TRANSFORMS, Variant

STUDENT = "cifar_resnet8"

__all__ = [
    "IMAGES",
    "STUDENT",
    "STUDENT_IMAGES",
    "TEACHER",
    "VALIDATED_FROM",
    "Schedule",
    "student_config",
    "teacher_config",
]


@dataclass(frozen=True)
class Schedule:
    """How many epochs teacher and student are trained; the learning rate follows."""

    teacher_epochs: int = TEACHER_EPOCHS
    student_epochs: int = STUDENT_EPOCHS

    def __post_init__(self) -> None:
        check_at_least("teacher_epochs", self.teacher_epochs, 1)
        check_at_least("student_epochs", self.student_epochs, 1)


def teacher_config(schedule: Schedule | None = None) -> str:
    """Return the config of the teacher, trained alone on all training images but those for validation."""
    schedule = schedule or Schedule()
    return recipe(Request(BASELINE, None, TEACHER, "digits", epochs=schedule.teacher_epochs))


def student_config(
    variant: Variant, *, teacher_checkpoint: str | Path = TEACHER_CHECKPOINT, schedule: Schedule | None = None
) -> str:
    """Return the config of a student.

    Args:
        variant: how it learns.
        teacher_checkpoint: file with the weights of the teacher; plain training does without.
        schedule: how long to train.

    Example:
        >>> "LSKDLoss" in student_config(Variant("lskd")), "teacher_model" in student_config(Variant("ce"))
        (True, False)
    """
    schedule = schedule or Schedule()
    alone = variant.method == BASELINE
    return recipe(
        Request(
            variant.method,
            None if alone else TEACHER,
            STUDENT,
            "digits",
            transforms=TRANSFORMS[variant.transform],
            epochs=schedule.student_epochs,
            checkpoint=None if alone else str(teacher_checkpoint),
        )
    )
