"""One term of a config, and the models and data that a method writes its terms for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .models import Model
from .sides import StudentSide, TeacherSide


@dataclass(frozen=True)
class Term:
    """One term of the weighted sum.

    Attributes:
        name: in the config and the log.
        criterion: key in torchdistill's registry.
        kwargs: of the criterion.
        weight: in the sum.
        wrapper: ``criterion_wrapper`` of the config; None for none.
    """

    name: str
    criterion: str
    kwargs: Mapping[str, Any]
    weight: float
    wrapper: Mapping[str, Any] | None = None

    def yaml(self) -> dict[str, Any]:
        """Return the term as written in a config."""
        made: dict[str, Any] = {"criterion": {"key": self.criterion, "kwargs": dict(self.kwargs)}}
        if self.wrapper is not None:
            made["criterion_wrapper"] = dict(self.wrapper)
        return {**made, "weight": self.weight}


@dataclass
class Setting:
    """Models and data that a method writes its terms for, and its additions to the config.

    Attributes:
        student: the student's side.
        teacher: the teacher's side; with several teachers, the first one's.
        classes: number of classes.
        values: hyperparameters of the table's row, which override the method's defaults.
        given: hyperparameters from ``--option``.
        keep: share of the teacher's entries that a mask keeps; None without a mask.
        teachers: all teachers.
        dataset: name of the data set.
        images: number of training images; 0 if unknown.
        steps: number of training steps; 0 if unknown.
        shortened: whether the training has fewer epochs than the schedule.
        weights: file with the teacher's weights; None if timm has them.
        sizes: input size of each teacher.
        renormalised: whether a teacher needs another normalisation than the loader's.
        loader: additions to the train loader.
        student_model: section of another model instead of the plain student.
        teacher_model: likewise.
        top: sentences at the head of the config.
        checkpoint_of: function of a teacher's name, and a suffix that distinguishes equal models, to its file.
    """

    student: StudentSide
    teacher: TeacherSide
    classes: int
    values: Mapping[str, Any]
    given: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    keep: float | None = None
    teachers: Sequence[Model] = ()
    dataset: str = ""
    images: int = 0
    steps: int = 0
    shortened: bool = False
    weights: str | None = None
    sizes: Sequence[int] = ()
    renormalised: bool = False
    loader: dict[str, Any] = dataclasses.field(default_factory=dict)
    student_model: dict[str, Any] | None = None
    teacher_model: dict[str, Any] | None = None
    top: list[str] = dataclasses.field(default_factory=list)
    checkpoint_of: Callable[[str, str], str] = lambda model, suffix: f"./checkpoints/{model}{suffix}.pth"

    @property
    def models(self) -> tuple[Model, Model]:
        """Return student and teacher."""
        return self.student.model, self.teacher.model
