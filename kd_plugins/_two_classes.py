"""Loss terms that lose their effect on data sets of two classes; does not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

STANDARDIZED_LOSSES = ("LSKDLoss", "LogitStdKDLoss")
CORRELATED_ROWS = ("DISTLoss", "DISTPlusLoss")
"""Losses of the correlation between a sample's two rows of class probabilities."""


def two_class_remark(term: Mapping[str, Any]) -> str | None:
    """Return a remark about a term of the criterion that two classes make ineffective, or None.

    Args:
        term: a section of ``sub_terms`` as a config has it, with ``criterion`` and perhaps ``criterion_wrapper``.

    Example:
        >>> two_class_remark({"criterion": {"key": "DKDLoss", "kwargs": {}}})
        'With two classes the beta part of DKDLoss is always 0: beside the target there is one class.'
    """
    criterion, wrapper = (term.get(name) or {} for name in ("criterion", "criterion_wrapper"))
    key = criterion.get("key")
    steps = [wrapper, *((wrapper.get("kwargs") or {}).get("transforms") or [])]
    standardized = key in STANDARDIZED_LOSSES or bool((criterion.get("kwargs") or {}).get("standardize"))
    if standardized or any(step.get("key") in ("LogitStandardization", "standardize") for step in steps):
        what = "the divergences of MLKDLoss have" if key == "MLKDLoss" else f"{key} has"
        return (
            "With two classes every sample's standardized logits are -1 and +1, divided by the temperature, whatever "
            f"the model gives: {what} almost no gradient. Leave out the standardization."
        )
    if key in CORRELATED_ROWS:
        return (
            f"With two classes the correlation of a sample's probabilities is always -1 or +1: the beta part of {key} "
            "has almost no gradient."
        )
    if key == "DKDLoss":
        return f"With two classes the beta part of {key} is always 0: beside the target there is one class."
    return None
