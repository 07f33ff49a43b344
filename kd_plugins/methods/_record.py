"""The record of a method: everything that is not its formula."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..pairs.setting import Setting, Term

NOT_KEYWORDS = ("weight", "ce", "batch", "source")
"""What the papers' tables hold beside keywords of the criterion."""


@dataclass(frozen=True)
class Reads:
    """What a loss reads; the attributes are those of :class:`~kd_plugins.host.losses.mid_level.MidLevelLoss`.

    Attributes:
        wants: ``"logits"``, ``"features"``, ``"feature_lists"``, ``"logit_ensemble"``, ``"feature_ensemble"`` or
            ``"student_tensors"``.
        uses_targets: whether it takes the labels.
        student_tensors: paths of student modules whose outputs it takes.
        sees_untransformed: whether it takes its tensors as they are before the transforms, too.
        requires: sections of a stage that it needs -> what to write there.
    """

    wants: str = "logits"
    uses_targets: bool = False
    student_tensors: Sequence[str] = ()
    sees_untransformed: bool = False
    requires: Mapping[str, str] = field(default_factory=dict)


LOGITS, FEATURES = Reads("logits"), Reads("features")
LOGIT_ENSEMBLE, FEATURE_ENSEMBLE = Reads("logit_ensemble"), Reads("feature_ensemble")


@dataclass(frozen=True)
class Loss:
    """A loss that configs name.

    Attributes:
        path: ``"module:Class"``; the class's name is the key.
        summary: what it is, in half a line.
        reads: what it takes; None for a class that reads torchdistill's io dicts itself.
        example: keywords that the contract test builds it with.
        paper: where it comes from; empty for the method's.
        applies: transforms that it applies itself, so that they do not belong before it.
        usual: keyword -> lowest and highest usual value, for the check of a config.
    """

    path: str
    summary: str
    reads: Reads | None
    example: Mapping[str, Any] = field(default_factory=dict)
    paper: str = ""
    applies: Sequence[str] = ()
    usual: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Name in a config."""
        return self.path.rpartition(":")[2]


@dataclass(frozen=True)
class Part:
    """A wrapper, model or data set wrapper that a method brings.

    Attributes:
        kind: of :data:`kd_plugins.registry.KINDS`, or ``"regressors"``.
        path: ``"module:name"``; the name is the key.
        summary: what it is, in half a line.
        paper: where it comes from; empty for the method's.
    """

    kind: str
    path: str
    summary: str
    paper: str = ""

    @property
    def key(self) -> str:
        """Name in a config."""
        return self.path.rpartition(":")[2]


Build = Callable[["Method", Setting], list[Term]]


@dataclass(frozen=True, kw_only=True)
class Method:
    """A distillation method.

    Attributes:
        name: on the command line and in file names.
        title: in sentences of a config.
        paper: authors, venue and year.
        summary: what it does, for the table of methods.
        losses: those that it brings; the first is the criterion.
        parts: what else it brings.
        criterion: key of the criterion, where that is torchdistill's; else the first loss's.
        label: in tables; the title where it is empty.

        values: default hyperparameters, which are keywords of the criterion.
        weight: of the term.
        ce: weight of the cross-entropy with the labels; 0 leaves it out.
        source: a sentence on where the hyperparameters come from.
        ce_from: hyperparameter that gives ``ce`` where it is set; empty where none does.
        ce_note: comment beside the weight of the cross-entropy.
        standardized: what changes on standardized logits, and a sentence on where that comes from.
        imagenet: hyperparameters that differ on ImageNet, for every pair.
        one_setting: whether the paper has one setting for every data set.
        schedule: name of its CIFAR schedule.
        imagenet_schedule: name of its ImageNet schedule.
        options: what else ``--option`` may give it, beside ``values``, ``weight``, ``ce`` and ``batch``.
        choices: of options, and of values, that are one of a few words.

        build: writes the terms where they are not the one on the models' outputs.
        student: wrapper of the student, and the outputs of it that are hooked.
        masked: criterion that masks the teacher's tensor itself; empty for ``SalientFeatureMask`` around the other.
        views: whether each image comes in a weak and a strong view.
        on_logits: whether it reads the models' outputs, so that they can be standardized.
        teachers: whether it takes several teachers.
        maskable: whether a mask may go before it.
        not_transformable: why no transform goes before it; empty where one may.

        configs: suffixes of the committed CIFAR-100 configs: ``""`` plain, ``"_ls"`` standardized, ``"_sfkd"`` masked.
        tabled: data sets whose pairs in the papers' tables are committed.
        demo: whether the demo compares it, with a committed config on digits.
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
    ce: float
    source: str
    ce_from: str = ""
    ce_note: str = ""
    standardized: tuple[Mapping[str, Any], str] | None = None
    imagenet: Mapping[str, Any] = field(default_factory=dict)
    one_setting: bool = False
    schedule: str = "cifar_step"
    imagenet_schedule: str = "imagenet_step"
    options: Sequence[str] = ()
    choices: Mapping[str, Sequence[str]] = field(default_factory=dict)

    build: Build | None = None
    student: tuple[Mapping[str, Any], Sequence[str]] | None = None
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
        return [self.term(setting)]

    def term(self, setting: Setting, kwargs: Mapping[str, object] | None = None, *, name: str = "") -> Term:
        """Return a term of the criterion, masked where the setting has a mask.

        Args:
            setting: what it is written for.
            kwargs: keywords before the hyperparameters: the paths that the criterion reads.
            name: of the term; the method's by default.
        """
        values, weight = self.hyperparameters(setting.values)
        return self.with_mask(Term(name or self.name, self.key, {**(kwargs or {}), **values}, weight), setting)

    def with_mask(self, term: Term, setting: Setting, *, masked: str | None = None) -> Term:
        """Put the salient mask before a term, where the setting has one; ``masked`` is a criterion that has its own."""
        if setting.keep is None:
            return term
        name, own = f"{term.name}_sfkd", self.masked if masked is None else masked
        if own:
            return dataclasses.replace(term, name=name, criterion=own, kwargs={**term.kwargs, "keep": setting.keep})
        return dataclasses.replace(
            term, name=name, wrapper={"key": "SalientFeatureMask", "kwargs": {"keep": setting.keep}}
        )
