"""Legal values that are orders of magnitude off, or that do something other than they suggest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..._two_classes import two_class_remark
from ...methods import METHODS
from ..findings import Findings
from ..stage import Section, Stage

Path = tuple[object, ...]


@dataclass(frozen=True)
class Range:
    """Bounds of a value: an error outside ``possible``, a warning outside ``usual``.

    Attributes:
        usual: lowest and highest usual value, both included.
        possible: lowest and highest possible value, both included.
        why: reason for the bounds, shown in the message.
    """

    usual: tuple[float, float]
    possible: tuple[float, float]
    why: str


BIG = float("inf")
ADAPTIVE = ("Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop", "SparseAdam", "Adadelta")
RATE = Range((1e-7, 2.0), (0.0, 10.0), "SGD uses 0.001 to 1")
ADAPTIVE_RATE = Range((1e-7, 0.05), (0.0, 1.0), "Adam and its variants use 0.00001 to 0.01")
MOMENTUM = Range((0.0, 0.999), (0.0, 0.999999), "training diverges with a momentum of 1 or more")
DECAY = Range((0.0, 0.5), (0.0, BIG), "0.00001 to 0.1 is usual")

TEMPERATURES = "0.5 to 20 is usual for logits, 0.05 to 1 for contrastive losses"

DIVERGENCES = ("KDLoss", "KLDivLoss")
"""Losses whose documentation recommends batchmean."""

KEYWORDS = {
    "temperature": Range((0.02, 100.0), (0.005, 1000.0), TEMPERATURES),
    "tau": Range((0.02, 100.0), (0.005, 1000.0), TEMPERATURES),
    "mean_weight": Range((0.0, 1.0), (-BIG, 10.0), "weights of the parts of an attention map are 0 to 1"),
    "max_weight": Range((0.0, 1.0), (-BIG, 10.0), "weights of the parts of an attention map are 0 to 1"),
    "label_smoothing": Range((0.0, 0.5), (0.0, 1.0), "it is a fraction of the label, usually 0.1"),
}
"""Bounds of keywords, anywhere in a term or side: in losses, loss wrappers, transforms and model wrappers."""

SHRINKS = 0.005
"""Largest usual decay of the weights in one step, as a fraction; 0.1 * 0.0005 is typical."""

LOSSES = {loss.key: loss for method in METHODS.values() for loss in method.losses}
WRAPPED = {"LogitStandardization": "standardize", "SalientFeatureMask": "keep_salient"}
"""Loss wrapper -> the one transform that it applies."""

HEAVIEST = 1e6
MANY_EPOCHS = 5000
"""The longest training in the papers has 480."""


def check_values(findings: Findings, stage: Stage) -> None:
    """Check the numbers of a stage."""
    epochs = stage.section.get("num_epochs")
    if isinstance(epochs, int) and epochs > MANY_EPOCHS:
        findings.warning(f"num_epochs is {epochs}: is this a number of steps?", *stage.path, "num_epochs")
    _optimizer(findings, stage)
    for name, term in stage.terms.items():
        at = (*stage.terms_path, name)
        remark = two_class_remark(term) if stage.classes == 2 else None
        if remark is not None:
            findings.warning(remark, *at)
        _keywords(findings, term, at)
        _transform_order(findings, term, at)
        _criterion(findings, stage, term, (*at, "criterion", "kwargs"))
        weight = term.get("weight")
        if isinstance(weight, (int, float)) and abs(weight) > HEAVIEST:
            findings.warning(f"weight is {weight:g}; the largest weight in the papers is 30000", *at, "weight")
        warmup = (term["criterion"].get("kwargs") or {}).get("warmup")
        if isinstance(warmup, (int, float)) and isinstance(epochs, int) and warmup > epochs / 2:
            findings.warning(
                f"warmup takes {warmup} of {epochs} epochs: the term has its full weight for less than half of them",
                *at, "criterion", "kwargs", "warmup",
            )  # fmt: skip
    for side in ("teacher", "student"):
        _keywords(findings, stage.side(side), (*stage.path, stage.side_key(side)))
    wrapper = stage.side("student").get("auxiliary_model_wrapper") or {}
    blocks = (wrapper.get("kwargs") or {}).get("teacher")
    if wrapper.get("key") == "LAKDStudent" and isinstance(blocks, (list, tuple)) and list(blocks) != sorted(blocks):
        findings.warning(
            f"the teacher's blocks {list(blocks)} are not in order: list them from first to last",
            *stage.path, "student", "auxiliary_model_wrapper", "kwargs", "teacher",
        )  # fmt: skip
    _loaders(findings, stage)


def _optimizer(findings: Findings, stage: Stage) -> None:
    section, at = stage.section.get("optimizer") or {}, (*stage.path, "optimizer")
    rates = ADAPTIVE_RATE if section.get("key") in ADAPTIVE else RATE
    own = section.get("kwargs") or {}
    groups = section.get("module_wise_configs") or []
    places: list[tuple[Section, Path]] = [(own, (*at, "kwargs"))]
    places += [(g.get("kwargs") or {}, (*at, "module_wise_configs", i, "kwargs")) for i, g in enumerate(groups)]
    for kwargs, place in places:
        if kwargs.get("lr") != 0:  # another rule reports 0
            _judge(findings, "lr", kwargs.get("lr"), rates, (*place, "lr"))
        _judge(findings, "momentum", kwargs.get("momentum"), MOMENTUM, (*place, "momentum"))
        rate, decay = kwargs.get("lr", own.get("lr")), kwargs.get("weight_decay")
        if _is_number(decay) and _is_number(rate) and rate * decay >= 1:
            findings.error(
                f"weight_decay is {decay:g}: one step subtracts {rate * decay:g} times the weights; {DECAY.why}",
                *place, "weight_decay",
            )  # fmt: skip
        elif _is_number(decay) and _is_number(rate) and rate * decay > SHRINKS:
            findings.warning(
                f"weight_decay is {decay:g}: one step subtracts {rate * decay:.2g} times the weights; {DECAY.why}",
                *place, "weight_decay",
            )  # fmt: skip
        else:
            _judge(findings, "weight_decay", decay, DECAY, (*place, "weight_decay"))
    every, batches = section.get("grad_accum_step"), stage.batches()
    if isinstance(every, int) and batches and isinstance(stage.section.get("num_epochs"), int):
        if every > batches * stage.section["num_epochs"]:
            findings.error(
                f"grad_accum_step is {every}, but the training has only {batches * stage.section['num_epochs']} "
                "batches, so the optimizer never steps: lower it",
                *at, "grad_accum_step",
            )  # fmt: skip
        elif every > batches:
            findings.warning(
                f"grad_accum_step is {every}, but an epoch has only {batches} batches: lower it", *at, "grad_accum_step"
            )


def _keywords(findings: Findings, section: Any, at: Path) -> None:
    for keys, value in numbers(section):
        if keys[-1] in KEYWORDS:
            _judge(findings, str(keys[-1]), value, KEYWORDS[str(keys[-1])], (*at, *keys))


def _criterion(findings: Findings, stage: Stage, term: Section, at: Path) -> None:
    """Check keywords whose meaning depends on the loss or on the data."""
    kwargs = term["criterion"].get("kwargs") or {}
    if kwargs.get("reduction") == "mean" and term["criterion"].get("key") in DIVERGENCES:
        findings.warning("reduction: mean also divides by the number of classes: use batchmean", *at, "reduction")
    if term["criterion"].get("key") == "LAKDLoss" and kwargs.get("beta") == 0:
        findings.warning("beta is 0, so no loss trains the student before the last cut: raise beta", *at, "beta")
    if kwargs.get("reduction") == "sum" and term["criterion"].get("key") == "CrossEntropyLoss" and len(stage.terms) > 1:
        findings.warning("reduction: sum grows with the batch size, unlike the other terms: use mean", *at, "reduction")
    ignored = kwargs.get("ignore_index")
    if isinstance(ignored, int) and 0 <= ignored < (stage.classes or 0):
        findings.warning(
            f"ignore_index is {ignored}, a class of the data, so that class is not learned: remove it",
            *at,
            "ignore_index",
        )
    loss = LOSSES.get(term["criterion"].get("key"))
    if loss is not None:
        for name, usual in loss.usual.items():
            known = Range(usual, (-BIG, BIG), f"{loss.key} is used with {usual[0]:g} to {usual[1]:g}")
            _judge(findings, name, kwargs.get(name), known, (*at, name))
    paths = kwargs.get("teacher_module_path")
    ensemble = "Ensemble" in term["criterion"]["key"] or "AEKD" in term["criterion"]["key"]
    if ensemble and isinstance(paths, (list, tuple)) and len(set(paths)) < len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        findings.warning(f"teacher_module_path names {twice} twice", *at, "teacher_module_path")


def _transform_order(findings: Findings, term: Section, at: Path) -> None:
    transforms = ((term.get("criterion_wrapper") or {}).get("kwargs") or {}).get("transforms") or ()
    keys = [step.get("key") for step in transforms if isinstance(step, Mapping)]
    if "standardize" in keys and "keep_salient" in keys[: keys.index("standardize")]:
        findings.warning(
            "standardize after keep_salient includes the masked zeros in mean and deviation: put standardize first",
            *at, "criterion_wrapper", "kwargs", "transforms",
        )  # fmt: skip
    sides = [(step.get("key"), step.get("side")) for step in transforms if isinstance(step, Mapping)]
    for key, side in dict.fromkeys(sides):
        if sides.count((key, side)) > 1:
            findings.warning(
                f"{key} is listed {sides.count((key, side))} times: keep one",
                *at, "criterion_wrapper", "kwargs", "transforms",
            )  # fmt: skip
    wrapper, loss = (term.get("criterion_wrapper") or {}).get("key"), LOSSES.get(term["criterion"].get("key"))
    for before in [*keys, *([WRAPPED[wrapper]] if wrapper in WRAPPED else [])]:
        if loss is not None and before in loss.applies:
            findings.warning(f"{loss.key} applies {before} itself: remove it here", *at, "criterion_wrapper")


def _loaders(findings: Findings, stage: Stage) -> None:
    workers = ((stage.section.get("train_data_loader") or {}).get("kwargs") or {}).get("num_workers")
    batches = stage.batches()
    if isinstance(workers, int) and batches and workers > max(batches, 16):
        findings.warning(
            f"num_workers is {workers}, but an epoch has only {batches} batches: starting the workers costs more time "
            "than they save",
            *stage.path, "train_data_loader", "kwargs", "num_workers",
        )  # fmt: skip


def _judge(findings: Findings, name: str, value: Any, known: Range, at: Path) -> None:
    if not _is_number(value):
        return
    if not known.possible[0] <= value <= known.possible[1]:
        findings.error(f"{name} is {value:g}: {known.why}", *at)
    elif not known.usual[0] <= value <= known.usual[1]:
        findings.warning(f"{name} is {value:g}, which is unusual: {known.why}", *at)


def numbers(section: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield place and value of every number in a section."""
    inside: Iterator[tuple[object, Any]] = iter(())
    if isinstance(section, Mapping):
        inside = iter(section.items())
    elif isinstance(section, Sequence) and not isinstance(section, str):
        inside = iter(enumerate(section))
    elif _is_number(section):
        yield path, section
    for key, value in inside:
        yield from numbers(value, (*path, key))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
