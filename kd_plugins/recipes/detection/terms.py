"""The loss terms of a detector's config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..._names import unknown_name
from ...methods import METHODS
from ...pairs.setting import Term
from ..plan import Summand
from ..tables import Pair
from .table import REVIEW_WEIGHTS

PROPOSALS, LABELS = "points.proposals", "points.proposal_labels"
LEVELS = [f"points.fpn.{number}" for number in range(5)]
ON_LEVELS = ("reviewkd", "fitnet")
DIGITS_REVIEW = 0.02

VALUES: dict[str, tuple[dict[str, Any], float, str]] = {
    "ckd": ({"temperature": 1.0}, 0.1, "CKD on all proposals of a batch: temperature and weight of the public code."),
    "kd": ({"temperature": 1.0}, 1.0, "KD on proposals: no setting is published; temperature 1 and weight 1."),
    "dkd": (
        {"alpha": 1.0, "beta": 0.25, "temperature": 1.0, "warmup": 0}, 1.0,
        "DKD on proposals with their labels: alpha, beta and temperature of mdistiller's detection.",
    ),
    "fitnet": (
        {}, 1.0, "Hints on the levels of the pyramid, which have the teacher's channels: no weight is published; 1.",
    ),
}  # fmt: skip


def weights_written(key: str) -> set[float]:
    """Return the weights that recipes of detectors give a loss, by its key in the registry.

    Of the weights of ``PyramidLoss``, which fit one teacher's features each, that of the digits alone.

    Example:
        >>> weights_written("CKDLoss"), weights_written("PyramidLoss")
        ({0.1}, {0.02})
    """
    if key == "PyramidLoss":
        return {DIGITS_REVIEW}
    return {VALUES.get(name, ({}, method.weight, ""))[1] for name, method in METHODS.items() if method.key == key}


def check_method(summand: Summand) -> None:
    """Raise ``ValueError`` unless a method works on detectors."""
    known = [m.name for m in METHODS.values() if m.on_logits and not (m.build or m.views) and m.losses]
    if summand.masked or summand.base not in (*known, *ON_LEVELS):
        raise ValueError(
            f"{summand.name} is not made for detectors; methods on proposals: {', '.join(known)}; on pyramids: "
            f"{', '.join(ON_LEVELS)}"
        )


def term_of(summand: Summand, given: Mapping[str, Any], pair: Pair, *, digits: bool) -> tuple[Term, str]:
    """Return the term of a method with the ``given`` options, and a sentence about its settings."""
    method = summand.method
    known = ["weight"] if summand.base in ON_LEVELS else ["weight", *method.values, *method.keywords, *method.options]
    for key in given:
        if key not in known:
            raise unknown_name(f"option of {summand.name} on detectors", key, known)
    if summand.base == "reviewkd":
        weight = DIGITS_REVIEW if digits else REVIEW_WEIGHTS.get(pair, 1.0)
        sentence = "ReviewKD's fusion of the student's pyramid: weight of the public code for this pair."
        if digits:
            sentence = (
                "ReviewKD's published weights, 1 to 2, belong to features of other teachers: 0.02, as the features of "
                "this teacher, trained from scratch, are large."
            )
        elif pair not in REVIEW_WEIGHTS:
            sentence = "ReviewKD's fusion of the student's pyramid: no weight is published for this pair; 1."
        kwargs: dict[str, Any] = {"student_module_path": LEVELS, "teacher_module_path": LEVELS}
        return Term(summand.name, "PyramidLoss", kwargs, float(given.get("weight", weight))), sentence
    unpublished = (dict(method.values), method.weight, f"{method.title} on proposals: no setting is published.")
    values, weight, sentence = VALUES.get(summand.base, unpublished)
    own = {**values, **{key: value for key, value in given.items() if key != "weight"}}
    paths = LEVELS if summand.base == "fitnet" else PROPOSALS
    kwargs = {"student_module_path": paths, "teacher_module_path": paths}
    if method.losses[0].reads is not None and method.losses[0].reads.uses_targets:
        kwargs["targets_module_path"] = LABELS
    wrapper = {"key": "LogitStandardization", "kwargs": {}} if summand.standardized else None
    term = Term(summand.name, method.key, {**kwargs, **own}, float(given.get("weight", weight)), wrapper=wrapper)
    return term, sentence


def hooks(terms: Sequence[Term]) -> list[str]:
    """Return the student's outputs that terms read, in the order in which the wrapper shows them."""
    read: list[str] = []
    for term in terms:
        paths = term.kwargs["student_module_path"]
        read += [paths] if isinstance(paths, str) else list(paths)
        read += [term.kwargs["targets_module_path"]] if "targets_module_path" in term.kwargs else []
    return sorted(set(read), key=[PROPOSALS, LABELS, *LEVELS].index)
