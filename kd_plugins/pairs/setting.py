"""One term of a config, and what the terms of a method are written for."""

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
        """Return the term as a config has it."""
        made: dict[str, Any] = {"criterion": {"key": self.criterion, "kwargs": dict(self.kwargs)}}
        if self.wrapper is not None:
            made["criterion_wrapper"] = dict(self.wrapper)
        return {**made, "weight": self.weight}


@dataclass
class Setting:
    """What the terms of a method are written for, and what they add to the config.

    Attributes:
        student: the student's side.
        teacher: the teacher's side.
        classes: number of classes.
        values: hyperparameters of the row at hand, which override the method's defaults.
        given: those that ``--option`` gave.
        keep: share of the teacher's entries that stay; None without a mask.
        teachers: one for most methods; the side above is the first's.
        dataset: name of the data set.
        images: number of training images, 0 where it is not known.
        weights: file with the teacher's weights; None where timm has them.
        sizes: height and width of the images that each teacher wants.
        renormalised: whether a teacher wants another normalisation than the loader gives.
        loader: what is added to the train loader: key -> value.
        student_model: another model in place of the plain student: (key, keywords); None for the plain one.
        teacher_model: likewise.
        top: sentences that belong at the head of the config.
        checkpoint_of: returns where a teacher's weights are, of its name and a suffix that tells equal models apart.
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
