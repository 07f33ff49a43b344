"""The demo's configs: recipes on digits, with the demo's own checkpoint and number of epochs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from .._checks import check_at_least
from ..recipes import Request, recipe
from ..recipes.data.digits import STUDENT_EPOCHS, TEACHER, TEACHER_CHECKPOINT, TEACHER_EPOCHS
from .methods import BASELINE, TRANSFORMS, Variant

STUDENT = "cifar_resnet8"


@dataclass(frozen=True)
class Schedule:
    """Numbers of epochs of teacher and student; the learning rate follows."""

    teacher_epochs: int = TEACHER_EPOCHS
    student_epochs: int = STUDENT_EPOCHS

    def __post_init__(self) -> None:
        check_at_least("teacher_epochs", self.teacher_epochs, 1)
        check_at_least("student_epochs", self.student_epochs, 1)


DEFAULT = Schedule()


def teacher_config(schedule: Schedule = DEFAULT) -> str:
    """Return the config of the teacher, trained alone on all training images except those for validation."""
    return recipe(Request(BASELINE, None, TEACHER, "digits", epochs=schedule.teacher_epochs))


def student_config(
    variant: Variant, *, teacher_checkpoint: str | Path = TEACHER_CHECKPOINT, schedule: Schedule = DEFAULT
) -> str:
    """Return the config of a student; ``teacher_checkpoint`` is not used without a teacher.

    Example:
        >>> "LSKDLoss" in student_config(Variant("lskd")), "teacher_model" in student_config(Variant("ce"))
        (True, False)
    """
    request = Request(
        variant.method, TEACHER, STUDENT, "digits", transforms=TRANSFORMS[variant.transform],
        epochs=schedule.student_epochs, checkpoint=str(teacher_checkpoint),
    )  # fmt: skip
    return recipe(replace(request, teacher=None, checkpoint=None) if variant.method == BASELINE else request)
