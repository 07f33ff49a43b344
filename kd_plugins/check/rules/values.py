"""Legal values that are orders of magnitude off, or that do something other than they suggest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ..._two_classes import two_class_remark
from ...methods import METHODS
from ..findings import ERROR, WARNING, Findings
from ..stage import Section, Stage, kwargs_of

Path = tuple[object, ...]


class Range(NamedTuple):
    """Bounds of a value, both included: an error outside ``possible``, a warning outside ``usual``, and the reason."""

    usual: tuple[float, float]
    possible: tuple[float, float]
    why: str


BIG = float("inf")
ADAPTIVE = ("Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop", "SparseAdam", "Adadelta")
RATE = Range((1e-7, 2.0), (0.0, 10.0), "SGD uses 0.001 to 1")
ADAPTIVE_RATE = Range((1e-7, 0.05), (0.0, 1.0), "Adam and its variants use 0.00001 to 0.01")
MOMENTUM = Range((0.0, 0.999), (0.0, 0.999999), "training diverges with a momentum of 1 or more")
DECAY = Range((0.0, 0.5), (0.0, BIG), "0.00001 to 0.1 is usual")

TEMPERATURE = Range((0.02, 100.0), (0.005, 1000.0), "0.5 to 20 is usual for logits, 0.05 to 1 for contrastive losses")
MAP_WEIGHT = Range((0.0, 1.0), (-BIG, 10.0), "weights of the parts of an attention map are 0 to 1")

DIVERGENCES = ("KDLoss", "KLDivLoss")
"""Losses whose documentation recommends batchmean."""

KEYWORDS = {
    "temperature": TEMPERATURE,
    "tau": TEMPERATURE,
    "mean_weight": MAP_WEIGHT,
    "max_weight": MAP_WEIGHT,
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
        warmup = kwargs_of(term["criterion"]).get("warmup")
        if isinstance(warmup, (int, float)) and isinstance(epochs, int) and warmup > epochs / 2:
            message = (
                f"warmup takes {warmup} of {epochs} epochs: the term has its full weight for less than half of them"
            )
            findings.warning(message, *at, "criterion", "kwargs", "warmup")
    for side in ("teacher", "student"):
        _keywords(findings, stage.side(side), (*stage.path, stage.side_key(side)))
    wrapper = stage.wrapper("student")
    blocks = kwargs_of(wrapper).get("teacher")
    if wrapper.get("key") == "LAKDStudent" and isinstance(blocks, (list, tuple)) and list(blocks) != sorted(blocks):
        findings.warning(
            f"the teacher's blocks {list(blocks)} are not in order: list them from first to last",
            *stage.path, "student", "auxiliary_model_wrapper", "kwargs", "teacher",
        )  # fmt: skip
    workers, batches = kwargs_of(stage.loader).get("num_workers"), stage.batches
    if isinstance(workers, int) and batches and workers > max(batches, 16):
        findings.warning(
            f"num_workers is {workers}, but an epoch has only {batches} batches: starting the workers costs more time "
            "than they save",
            *stage.loader_path, "kwargs", "num_workers",
        )  # fmt: skip


def _optimizer(findings: Findings, stage: Stage) -> None:
    section, at = stage.section.get("optimizer") or {}, (*stage.path, "optimizer")
    rates = ADAPTIVE_RATE if section.get("key") in ADAPTIVE else RATE
    own = kwargs_of(section)
    groups = section.get("module_wise_configs") or []
    places: list[tuple[Section, Path]] = [(own, (*at, "kwargs"))]
    places += [(kwargs_of(group), (*at, "module_wise_configs", i, "kwargs")) for i, group in enumerate(groups)]
    for kwargs, place in places:
        if kwargs.get("lr") != 0:  # another rule reports 0
            _judge(findings, "lr", kwargs.get("lr"), rates, (*place, "lr"))
        _judge(findings, "momentum", kwargs.get("momentum"), MOMENTUM, (*place, "momentum"))
        rate, decay = kwargs.get("lr", own.get("lr")), kwargs.get("weight_decay")
        if _is_number(decay) and _is_number(rate) and rate * decay > SHRINKS:
            message = f"weight_decay is {decay:g}: one step subtracts {rate * decay:.2g} times the weights; {DECAY.why}"
            findings.add(ERROR if rate * decay >= 1 else WARNING, message, *place, "weight_decay")
        else:
            _judge(findings, "weight_decay", decay, DECAY, (*place, "weight_decay"))
    every, batches, epochs = section.get("grad_accum_step"), stage.batches, stage.section.get("num_epochs")
    if isinstance(every, int) and batches and isinstance(epochs, int):
        at, start = (*at, "grad_accum_step"), f"grad_accum_step is {every}, but"
        if every > batches * epochs:
            rest = f"the training has only {batches * epochs} batches, so the optimizer never steps: lower it"
            findings.error(f"{start} {rest}", *at)
        elif every > batches:
            findings.warning(f"{start} an epoch has only {batches} batches: lower it", *at)


def _keywords(findings: Findings, section: Any, at: Path) -> None:
    for keys, value in numbers(section):
        if keys[-1] in KEYWORDS:
            _judge(findings, str(keys[-1]), value, KEYWORDS[str(keys[-1])], (*at, *keys))


def _criterion(findings: Findings, stage: Stage, term: Section, at: Path) -> None:
    """Check keywords whose meaning depends on the loss or on the data."""
    key, kwargs = term["criterion"]["key"], kwargs_of(term["criterion"])
    if kwargs.get("reduction") == "mean" and key in DIVERGENCES:
        findings.warning("reduction: mean also divides by the number of classes: use batchmean", *at, "reduction")
    if key == "LAKDLoss" and kwargs.get("beta") == 0:
        findings.warning("beta is 0, so no loss trains the student before the last cut: raise beta", *at, "beta")
    if kwargs.get("reduction") == "sum" and key == "CrossEntropyLoss" and len(stage.terms) > 1:
        findings.warning("reduction: sum grows with the batch size, unlike the other terms: use mean", *at, "reduction")
    ignored = kwargs.get("ignore_index")
    if isinstance(ignored, int) and 0 <= ignored < (stage.classes or 0):
        message = f"ignore_index is {ignored}, a class of the data, so that class is not learned: remove it"
        findings.warning(message, *at, "ignore_index")
    loss = LOSSES.get(key)
    if loss is not None:
        for name, usual in loss.usual.items():
            known = Range(usual, (-BIG, BIG), f"{loss.key} is used with {usual[0]:g} to {usual[1]:g}")
            _judge(findings, name, kwargs.get(name), known, (*at, name))
    paths = kwargs.get("teacher_module_path")
    ensemble = "Ensemble" in key or "AEKD" in key
    if ensemble and isinstance(paths, (list, tuple)) and len(set(paths)) < len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        findings.warning(f"teacher_module_path names {twice} twice", *at, "teacher_module_path")


def _transform_order(findings: Findings, term: Section, at: Path) -> None:
    wrapper, loss = term.get("criterion_wrapper") or {}, LOSSES.get(term["criterion"]["key"])
    at = (*at, "criterion_wrapper")
    transforms = kwargs_of(wrapper).get("transforms") or ()
    steps = [(step.get("key"), step.get("side")) for step in transforms if isinstance(step, Mapping)]
    keys = [key for key, _ in steps]
    if "standardize" in keys and "keep_salient" in keys[: keys.index("standardize")]:
        message = (
            "standardize after keep_salient includes the masked zeros in mean and deviation: put standardize first"
        )
        findings.warning(message, *at, "kwargs", "transforms")
    for step in dict.fromkeys(steps):
        if steps.count(step) > 1:
            message = f"{step[0]} is listed {steps.count(step)} times: keep one"
            findings.warning(message, *at, "kwargs", "transforms")
    for before in [*keys, WRAPPED.get(wrapper.get("key", ""))]:
        if loss is not None and before in loss.applies:
            findings.warning(f"{loss.key} applies {before} itself: remove it here", *at)


def _judge(findings: Findings, name: str, value: Any, known: Range, at: Path) -> None:
    if not _is_number(value):
        return
    if not known.possible[0] <= value <= known.possible[1]:
        findings.error(f"{name} is {value:g}: {known.why}", *at)
    elif not known.usual[0] <= value <= known.usual[1]:
        findings.warning(f"{name} is {value:g}, which is unusual: {known.why}", *at)


def numbers(section: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield place and value of every number in a section."""
    if _is_number(section):
        yield path, section
    elif isinstance(section, (Mapping, list, tuple)):
        for key, value in section.items() if isinstance(section, Mapping) else enumerate(section):
            yield from numbers(value, (*path, key))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
