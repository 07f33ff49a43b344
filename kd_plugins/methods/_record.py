"""The record of a method: everything but its formula."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..pairs.setting import Setting, Term
from ..pairs.sides import Place

NOT_KEYWORDS = ("weight", "ce", "batch", "source")
"""Entries of the papers' tables that are no keywords of the criterion."""

BY, FILL = ("value", "magnitude"), ("zero", "-inf")
"""Choices of the losses that keep the teacher's largest entries."""


@dataclass(frozen=True)
class Reads:
    """Inputs of a loss, see :class:`~kd_plugins.host.losses.mid_level.MidLevelLoss`.

    Attributes:
        wants: ``"logits"``, ``"features"``, ``"feature_lists"``, ``"logit_ensemble"``, ``"feature_ensemble"`` or
            ``"student_tensors"``.
        uses_targets: whether it needs the labels.
        student_tensors: paths of student modules whose outputs it reads.
        sees_untransformed: whether it also reads its tensors before the transforms.
        requires: section that the stage needs -> example YAML.
    """

    wants: str = "logits"
    uses_targets: bool = False
    student_tensors: Sequence[str] = ()
    sees_untransformed: bool = False
    requires: Mapping[str, str] = field(default_factory=dict)


LOGITS, FEATURES = Reads("logits"), Reads("features")
LOGIT_ENSEMBLE, FEATURE_ENSEMBLE = Reads("logit_ensemble"), Reads("feature_ensemble")


class _Keyed:
    """Something that a config names by the last part of ``path``."""

    path: str

    @property
    def key(self) -> str:
        """Name in a config."""
        return self.path.rpartition(":")[2]


@dataclass(frozen=True)
class Loss(_Keyed):
    """A loss that configs name.

    Attributes:
        path: ``"module:Class"``; the class's name is the key.
        summary: half a line for lists and tables.
        reads: its inputs; None for a class that reads torchdistill's io dicts itself.
        example: keywords for the contract test.
        applies: transforms that it applies itself, and that must not precede it.
        usual: keyword -> lowest and highest usual value, for the check of a config.
    """

    path: str
    summary: str
    reads: Reads | None
    example: Mapping[str, Any] = field(default_factory=dict)
    applies: Sequence[str] = ()
    usual: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Part(_Keyed):
    """A wrapper, model or data set wrapper of a method.

    Attributes:
        kind: of :data:`kd_plugins.registry.KINDS`, or ``"regressors"``.
        path: ``"module:name"``; the name is the key.
        summary: half a line for lists and tables.
    """

    kind: str
    path: str
    summary: str


Build = Callable[["Method", Setting], list[Term]]


@dataclass(frozen=True, kw_only=True)
class Method:
    """A distillation method.

    Attributes:
        name: on the command line and in file names.
        title: in sentences of a config.
        paper: authors, venue and year.
        summary: what it does, for the table of methods.
        losses: its losses; the first is the criterion.
        parts: its wrappers and models.
        criterion: key of the criterion, if that is torchdistill's.
        label: name in tables; the title if empty.

        values: default hyperparameters, which are keywords of the criterion.
        weight: weight of the term.
        ce: weight of the cross-entropy with the labels; 0 leaves it out.
        source: a sentence about the source of the hyperparameters.
        ce_from: hyperparameter that also sets ``ce``, if any.
        ce_note: comment beside the weight of the cross-entropy.
        standardized: changes on standardized logits, and a sentence about their source.
        imagenet: hyperparameters that differ on ImageNet, for every pair.
        one_setting: whether the paper has one setting for every data set.
        schedule: name of its CIFAR schedule.
        imagenet_schedule: name of its ImageNet schedule.
        keywords: further keywords of the criterion, with their defaults; None stands for any type.
        student_keywords: likewise of the student's wrapper or model.
        options: further keys of ``--option``, besides these, ``values``, ``weight``, ``ce`` and ``batch``.
        choices: option or value -> allowed words.
        in_epochs: options and values that count epochs, and keep their share of them in a shorter schedule.
        automatic: options that may also be ``auto``.

        build: returns the terms; None for a single term on the models' outputs.
        masked: criterion that masks the teacher's tensor itself; if empty, ``SalientFeatureMask`` does.
        views: whether each image has a weak and a strong view.
        on_logits: whether it reads the models' outputs, which can then be standardized.
        teachers: whether it takes several teachers.
        maskable: whether the teacher's tensor can be masked.
        not_transformable: why transforms cannot precede it; empty if they can.

        configs: suffixes of the committed CIFAR-100 configs: ``""`` plain, ``"_ls"`` standardized, ``"_sfkd"`` masked.
        tabled: data sets whose pairs in the papers' tables are committed.
        demo: whether the demo includes it, with a committed config on digits.
    """

    name: str
    title: str
    paper: str
    summary: str
    losses: Sequence[Loss] = ()
    parts: Sequence[Part] = ()
    criterion: str = ""
    label: str = ""

    values: Mapping[str, Any] = field(default_factory=dict)
    weight: float
    ce: float = 1.0
    source: str
    ce_from: str = ""
    ce_note: str = ""
    standardized: tuple[Mapping[str, Any], str] | None = None
    imagenet: Mapping[str, Any] = field(default_factory=dict)
    one_setting: bool = False
    schedule: str = "cifar_step"
    imagenet_schedule: str = "imagenet_step"
    keywords: Mapping[str, Any] = field(default_factory=dict)
    student_keywords: Mapping[str, Any] = field(default_factory=dict)
    options: Sequence[str] = ()
    choices: Mapping[str, Sequence[str]] = field(default_factory=dict)
    in_epochs: Sequence[str] = ()
    automatic: Sequence[str] = ()

    build: Build | None = None
    masked: str = ""
    views: bool = False
    on_logits: bool = False
    teachers: bool = False
    maskable: bool = True
    not_transformable: str = ""

    configs: Sequence[str] = ("",)
    tabled: Sequence[str] = ()
    demo: bool = False

    @property
    def key(self) -> str:
        """Key of the criterion."""
        return self.criterion or self.losses[0].key

    def hyperparameters(self, row: Mapping[str, Any]) -> tuple[dict[str, Any], float]:
        """Return the criterion's keywords and the term's weight; a row's values override the defaults."""
        others = {*NOT_KEYWORDS, *self.student_keywords}
        own = {**self.values, **{key: value for key, value in row.items() if key not in others}}
        return own, row.get("weight", self.weight)

    def student_values(self, setting: Setting) -> dict[str, Any]:
        """Return the row's keywords of the student's wrapper or model."""
        return {key: setting.values[key] for key in self.student_keywords if key in setting.values}

    def terms(self, setting: Setting) -> list[Term]:
        """Return the terms, and add to ``setting`` what they need."""
        return [self.term(setting)] if self.build is None else self.build(self, setting)

    def regressed(self, setting: Setting, point: str, target: str, **kwargs: Any) -> Place:
        """Return the place of the student's point after a regressor to the teacher's ``target``.

        ``kwargs`` are those of :meth:`StudentSide.regressed`; the row's keywords of the wrapper override them.
        """
        kwargs |= self.student_values(setting)
        return setting.student.regressed(point, setting.teacher, target, of=self.title, **kwargs)

    def term(self, setting: Setting, kwargs: Mapping[str, object] | None = None, *, name: str = "") -> Term:
        """Return a term of the criterion, masked if the setting has a mask.

        ``kwargs`` come before the hyperparameters: the paths that it reads. ``name`` is the method's by default.
        """
        values, weight = self.hyperparameters(setting.values)
        return self.with_mask(Term(name or self.name, self.key, {**(kwargs or {}), **values}, weight), setting)

    def with_mask(self, term: Term, setting: Setting, *, masked: str | None = None) -> Term:
        """Mask a term if the setting has a mask, by the criterion ``masked`` or ``self.masked`` if there is one."""
        if setting.keep is None:
            return term
        name, own = f"{term.name}_sfkd", self.masked if masked is None else masked
        if own:
            return dataclasses.replace(term, name=name, criterion=own, kwargs={**term.kwargs, "keep": setting.keep})
        wrapper = {"key": "SalientFeatureMask", "kwargs": {"keep": setting.keep}}
        return dataclasses.replace(term, name=name, wrapper=wrapper)
