"""Check that a loss term's stage has the model wrappers, hooks and loader that the loss needs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from torchdistill.losses import registry as losses
from torchdistill.models import registry as models

from .._checks import nearest
from ..host.losses.reads import Read, reads
from .keys import kwargs_of

EXAMPLES = {
    "ProjectedTeacher": "{key: ProjectedTeacher, kwargs: {points: [pooled]}} and teacher.forward_hook: "
    "{output: [projections.pooled]}",
    "ProjectedStudent": "{key: ProjectedStudent, kwargs: {pairs: [{student: pooled, channels: 256}], dim: 128}} and "
    "student.forward_hook: {output: [regressors.pooled]}",
    "VIDStudent": "{key: VIDStudent, kwargs: {pairs: [{student: stage3, channels: 256}]}} and student.forward_hook: "
    "{output: [regressors.stage3]}",
    "ReviewStudent": "{key: ReviewStudent, kwargs: {pairs: [{student: stage2, channels: 128}, {student: stage3, "
    "channels: 256}]}} and student.forward_hook: {output: [regressors.stage2, regressors.stage3]}",
}
"""Model wrapper -> example YAML."""

WRAPPERS = {
    "VIDLoss": {"student": ("VIDStudent", "VariationalDistributor4VID")},
    "PooledVIDLoss": {"student": ("VIDStudent", "VariationalDistributor4VID")},
    "HierarchicalContextLoss": {"student": ("ReviewStudent", "Student4KnowledgeReview")},
    "CCKDLoss": {side: (f"Projected{side.title()}", "Linear4CCKD") for side in ("teacher", "student")},
    "CRDLoss": {side: (f"Projected{side.title()}", "Linear4CRD") for side in ("teacher", "student")},
}
"""Loss -> side -> this package's and torchdistill's model wrapper that provide what the loss reads."""

CHECKED_HOOKS = (*WRAPPERS, "ATLoss", "RKDLoss", "PKTLoss")
"""Losses whose hooks are checked; a missing hook would otherwise end in a bare KeyError."""


def unmet_need(term: Mapping[str, Any], stage: Mapping[str, Any], datasets: Mapping[Any, Any]) -> str | None:
    """Return a message about what a term lacks in its stage, with the YAML to add; None if nothing is missing."""
    key, kwargs = term["criterion"]["key"], kwargs_of(term["criterion"])
    for where, example in getattr(losses.MIDDLE_LEVEL_LOSS_DICT.get(key), "requires", {}).items():
        if not _section(stage, where):
            return f"{key} needs {where}: {example} in the same stage"
    found = next(_wrapper_needs(key, kwargs, stage), None) or next(_hook_needs(key, kwargs, stage), None)
    if found is None and key == "CRDLoss":
        found = next(_crd_needs(kwargs, stage, datasets), None)
    return found


def _wrapper_needs(key: str, kwargs: Mapping[str, Any], stage: Mapping[str, Any]) -> Iterator[str]:
    for side, fitting in WRAPPERS.get(key, {}).items():
        there = _section(stage, f"{side}.auxiliary_model_wrapper.key")
        origin = getattr(models.AUXILIARY_MODEL_WRAPPER_DICT.get(there), "__module__", "").split(".")[0]
        # The user's own wrapper may provide what is needed.
        if there in fitting or (there and origin not in ("kd_plugins", "torchdistill")):
            continue
        read = next(iter(reads(kwargs, side, [key]) or ()), None)
        yield (
            f"{_named(key, read)} reads the {side}'s {_place(read)}, which only a model wrapper provides; found "
            f"{there or 'no wrapper'}. Add {side}.auxiliary_model_wrapper: {EXAMPLES[fitting[0]]}"
        )


def _hook_needs(key: str, kwargs: Mapping[str, Any], stage: Mapping[str, Any]) -> Iterator[str]:
    for side in ("teacher", "student") if key in CHECKED_HOOKS else ():
        hooks = _section(stage, f"{side}.forward_hook") or {}
        for read in reads(kwargs, side, [key]) or ():
            hooked = list(hooks.get(read.io) or ())
            if read.path not in (*hooked, "."):
                # A path that differs in numbers names another layer; one that differs in words is a typo.
                near = [path for path in nearest(read.path, hooked, count=1) if _words(path) != _words(read.path)]
                meant = f" (did you mean {near[0]!r}?)" if near else ""
                add = "" if near else f". Add it to {side}.forward_hook.{read.io}: [{read.path}]"
                yield (
                    f"{_named(key, read)} reads the {side}'s {_place(read)}, which is not hooked{meant}; hooked: "
                    f"{', '.join(hooked) or 'nothing'}{add}"
                )


def _crd_needs(kwargs: Mapping[str, Any], stage: Mapping[str, Any], datasets: Mapping[Any, Any]) -> Iterator[str]:
    supplement = kwargs.get("student_empty_module_path")
    if supplement not in (_section(stage, "student.forward_hook.input") or ()):
        hook = f"student.forward_hook: {{input: [{supplement}]}}"
        yield f"CRDLoss reads indices at the student's {supplement!r} input, which is not hooked: add {hook}"
    if _section(stage, "student.forward_proc") != "forward_batch_supp_dict":
        yield (
            "CRDLoss needs student.forward_proc: forward_batch_supp_dict, which passes the batch's indices to the "
            f"wrapper, found {_section(stage, 'student.forward_proc')!r}"
        )
    wrapper = _section(stage, "train_data_loader.dataset_wrapper") or {}
    negatives = kwargs.get("num_negative_samples")
    example = f"{{key: CRDDatasetWrapper, kwargs: {{num_negative_samples: {negatives}, mode: exact, ratio: 1.0}}}}"
    if not wrapper:
        yield f"CRDLoss needs the indices of negative samples: add train_data_loader.dataset_wrapper: {example}"
    drawn = kwargs_of(wrapper).get("num_negative_samples")
    if wrapper.get("key") == "CRDDatasetWrapper" and drawn != negatives:
        both = f"found {negatives!r} and {drawn!r}"
        yield f"num_negative_samples of CRDLoss and of CRDDatasetWrapper must be the same, {both}"
    dim = _section(stage, "student.auxiliary_model_wrapper.kwargs.dim") or 128
    own = _section(stage, "student.auxiliary_model_wrapper.key") == "ProjectedStudent"
    if own and kwargs.get("input_size") != dim:
        yield f"input_size of CRDLoss must be dim of ProjectedStudent ({dim}), found {kwargs.get('input_size')!r}"
    dataset = datasets.get(_section(stage, "train_data_loader.dataset_id"))
    # Fake data for an image folder do not have its real length.
    if dataset is not None and getattr(dataset, "real_length", True):
        for name in ("output_size", "num_samples"):
            found = kwargs.get(name)
            if found != len(dataset):
                yield f"{name} of CRDLoss must be the number of training images ({len(dataset)}), found {found!r}"


def data_need(loader: Mapping[str, Any], dataset: Any) -> str | None:
    """Return a message about what ``CRDDatasetWrapper`` misses in a data set; None if nothing is missing."""
    if (loader.get("dataset_wrapper") or {}).get("key") != "CRDDatasetWrapper":
        return None
    missing = [name for name in ("classes", "targets") if not hasattr(dataset, name)]
    if not missing:
        return None
    return (
        f"CRDDatasetWrapper needs a data set with {' and '.join(missing)}, such as torchvision's CIFAR100 or "
        f"ImageFolder, found {type(dataset).__name__}; use the whole data set, not a subset"
    )


def _named(key: str, read: Read | None) -> str:
    return f"{key}, pair {read.pair!r}," if read is not None and read.pair else key


def _words(path: str) -> str:
    return re.sub(r"\d+", "", path)


def _place(read: Read | None) -> str:
    return "features" if read is None else f"{read.path!r} {read.io}"


def _section(stage: Any, where: str) -> Any:
    for part in where.split("."):
        stage = stage.get(part) if isinstance(stage, Mapping) else None
    return stage
