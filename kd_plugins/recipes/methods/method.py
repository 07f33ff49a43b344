"""A method as a row: its criterion, weights, and which tensors it reads."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..data.digits import teacher_checkpoint
from ..models import Model
from ..sides import StudentSide, TeacherSide

NOT_KEYWORDS = ("weight", "ce", "batch", "source")
"""What the tables' settings hold beside keywords of the criterion."""


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

    def checkpoint_of(self, model: str, suffix: str) -> str:
        """Return where one of several teachers has its weights; the suffix tells those of one model apart."""
        if self.dataset == "digits":
            return teacher_checkpoint(model + suffix)
        return f"./checkpoints/{model}_{self.dataset}{suffix}.pth"

    @property
    def models(self) -> tuple[Model, Model]:
        """Return student and teacher."""
        return self.student.model, self.teacher.model


Build = Callable[["Method", Setting], list[Term]]


@dataclass(frozen=True)
class Method:
    """A distillation method.

    Attributes:
        name: on the command line and in file names.
        title: in comments and tables.
        criterion: key in torchdistill's registry.
        values: default hyperparameters, which are keywords of the criterion.
        weight: of the term.
        ce: weight of the cross-entropy with the labels; 0 leaves it out.
        ce_from: hyperparameter that gives this weight where it is set; empty where none does.
        source: a sentence on where the hyperparameters come from.
        build: writes the terms where they are not the one on the models' outputs.
        masked: criterion that masks the teacher's tensor itself; empty for ``SalientFeatureMask`` around the other.
        student: wrapper of the student, and what of it is hooked.
        views: whether each image comes in a weak and a strong view.
        ce_note: comment beside the weight of the cross-entropy.
        schedule: name of its CIFAR schedule.
        imagenet_schedule: name of its ImageNet schedule.
        on_logits: whether it reads the models' outputs, so that they can be standardized.
        teachers: whether it takes several teachers.
        maskable: whether it reads tensors of the teacher that can be masked.
        not_transformable: why no transform goes before it, as what it does; empty where one may.
        options: what else ``--option`` may give it, beside ``values``, ``weight``, ``ce`` and ``batch``.
        choices: of options, and of values, that are one of a few words.
    """

    name: str
    title: str
    criterion: str
    values: Mapping[str, Any]
    weight: float
    ce: float
    source: str
    build: Build | None = None
    masked: str = ""
    student: tuple[Mapping[str, Any], Sequence[str]] | None = None
    views: bool = False
    ce_from: str = ""
    ce_note: str = ""
    schedule: str = "cifar_step"
    imagenet_schedule: str = "imagenet_step"
    on_logits: bool = False
    teachers: bool = False
    maskable: bool = True
    not_transformable: str = ""
    options: Sequence[str] = ()
    choices: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)

    def hyperparameters(self, row: Mapping[str, Any]) -> tuple[dict[str, Any], float]:
        """Return the criterion's keywords and the term's weight, with a row's values over the defaults."""
        own = {**self.values, **{key: value for key, value in row.items() if key not in NOT_KEYWORDS}}
        return own, row.get("weight", self.weight)

    def terms(self, setting: Setting) -> list[Term]:
        """Write the terms, and note in ``setting`` what they need."""
        if self.student is not None:
            wrapper, hooked = self.student
            setting.student.wrap(wrapper["key"], wrapper["kwargs"], of=self.title)
            for path in hooked:
                setting.student.hook(path)
        if self.build is not None:
            return self.build(self, setting)
        kwargs, weight = self.hyperparameters(setting.values)
        return [masked(Term(self.name, self.criterion, kwargs, weight), self, setting)]


def masked(term: Term, method: Method, setting: Setting) -> Term:
    """Put the salient mask before a term, where the setting has one."""
    if setting.keep is None:
        return term
    name = f"{term.name}_sfkd"
    if method.masked:
        return dataclasses.replace(
            term, name=name, criterion=method.masked, kwargs={**term.kwargs, "keep": setting.keep}
        )
    wrapper = {"key": "SalientFeatureMask", "kwargs": {"keep": setting.keep}}
    return dataclasses.replace(term, name=name, wrapper=wrapper)
