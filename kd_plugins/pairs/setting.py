"""One term of a config, and the models and data that a method writes its terms for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .models import Model
from .sides import StudentSide, TeacherSide


@dataclass(frozen=True)
class Term:
    """One term of the weighted sum."""

    name: str  # in the config and the log
    criterion: str  # key in torchdistill's registry
    kwargs: Mapping[str, Any]  # of the criterion
    weight: float  # in the sum
    wrapper: Mapping[str, Any] | None = None  # ``criterion_wrapper`` of the config; None for none

    def yaml(self) -> dict[str, Any]:
        """Return the term as written in a config."""
        made: dict[str, Any] = {"criterion": {"key": self.criterion, "kwargs": dict(self.kwargs)}}
        if self.wrapper is not None:
            made["criterion_wrapper"] = dict(self.wrapper)
        return {**made, "weight": self.weight}


@dataclass(kw_only=True)
class Setting:
    """Models and data that a method writes its terms for, and its additions to the config."""

    student: StudentSide
    teacher: TeacherSide  # with several teachers, the first one's
    teachers: Sequence[Model]
    sizes: Sequence[int]  # input size of each teacher
    classes: int
    dataset: str
    images: int  # for training; 0 if unknown
    steps: int  # of the training; 0 if unknown
    shortened: bool  # whether the training has fewer epochs than the schedule
    weights: str | None  # file with the teacher's weights; None if timm has them
    checkpoint_of: Callable[[str, str], str]  # a teacher's name, and a suffix that distinguishes equal models -> file
    renormalised: bool  # whether a teacher needs another normalisation than the loader's

    # Set for each method in turn.
    values: Mapping[str, Any] = field(default_factory=dict)  # of the table's row; they override the method's defaults
    given: Mapping[str, Any] = field(default_factory=dict)  # hyperparameters from ``--option``
    keep: float | None = None  # share of the teacher's entries that a mask keeps; None without a mask

    # Additions to the config.
    loader: dict[str, Any] = field(default_factory=dict)  # to the train loader
    student_model: dict[str, Any] | None = None  # section of another model instead of the plain student
    teacher_model: dict[str, Any] | None = None  # likewise
    top: list[str] = field(default_factory=list)  # sentences at the head of the config

    @property
    def models(self) -> tuple[Model, Model]:
        """Return student and teacher."""
        return self.student.model, self.teacher.model
