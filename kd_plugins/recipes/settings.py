"""The hyperparameters of a row: the tables', else those of the nearest pair, else the method's defaults."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..pairs.models import CIFAR, MODELS, Model
from .plan import Summand
from .tables import Pair, pairs_of, settings_of

UNPUBLISHED = "No setting of this combination is published: the weights and temperatures of {method} alone."
CIFAR_SETTING = "The papers' setting on this data set is not told: the one on CIFAR-100."
KEEP = 0.5
MASK = "K is not published: half of the teacher's entries stay. Others worth trying: 0.3, 0.7, 0.8."


@dataclass(frozen=True)
class Row:
    """Hyperparameters of one method for one pair, and sentences about their source."""

    values: Mapping[str, Any]
    about: tuple[str, ...]


def row_of(summand: Summand, teacher: Model, student: Model, dataset: str, *, teachers: str, whole: str) -> Row:
    """Return the hyperparameters of a method for a pair.

    ``teacher`` is the first of ``teachers`` (names, separated by commas); ``whole`` is the name of the sum of methods.
    """
    # A mask does not change the other settings: its rows are those of the base.
    table = summand.base + ("_ls" if summand.standardized else "")
    unpublished: tuple[Mapping[str, Any], str] = ({}, UNPUBLISHED.format(method=summand.method.title))
    method = summand.method
    values, source = (method.standardized or unpublished) if summand.standardized else ({}, method.source)
    if dataset == "imagenet" and not summand.standardized:
        values = {**values, **method.imagenet}
    pair = (teachers, student.name)
    for_pair, about = " for this pair", []
    if dataset == "digits":
        for_pair = ", their default"
    elif not any(pair in pairs_of(name, dataset) for name in (table, summand.name, whole)):
        near, on = _nearest(table, teacher, student, dataset)
        told = "pair" if on == dataset else "pair on this data set"
        if near is None:
            for_pair = ", their default"
            about.append(f"No table has this {told}: the method's defaults.")
        else:
            for_pair = ""
            about.append(f"No table has this {told}: the setting of the nearest, {near[0]} -> {near[1]} on {on}.")
            values = {**values, **settings_of(table, *near, on)}
    own = settings_of(table, *pair, dataset)
    untold = not own and (dataset != "imagenet" or summand.standardized or not method.imagenet)
    if dataset not in ("cifar10", "cifar100", "digits") and untold and not method.one_setting:
        about.append(CIFAR_SETTING)
        for_pair = ""
    values = {**values, **own}
    source = values.get("source", source)
    masks = [MASK] if summand.masked else []
    return Row(values, (source.replace("{for_pair}", for_pair), *masks, *about))


def _nearest(method: str, teacher: Model, student: Model, dataset: str) -> tuple[Pair | None, str]:
    """Return the first pair with the same kind of student, and of teacher if possible, and its data set."""
    for on in dict.fromkeys((dataset, "cifar100")):
        best, score = None, 1
        for pair in pairs_of(method, on):
            kinds = [_kind(name, on == "imagenet") for name in pair]
            found = 2 * (kinds[1] == _kind_of(student)) + (kinds[0] == _kind_of(teacher))
            if found > score:
                best, score = pair, found
        if best is not None:
            return best, on
    return None, "cifar100"


def _kind(name: str, large: bool) -> tuple[bool, str]:
    found = [model for model in MODELS if model.name == name]
    fitting = [model for model in found if (model.family != CIFAR) == large] or found
    return _kind_of(fitting[0]) if fitting else (False, name)


def _kind_of(model: Model) -> tuple[bool, str]:
    """Return whether a network is for small images, and its name without sizes: ``wrn_40_2`` is like ``wrn_16_1``."""
    return model.family == CIFAR, re.sub(r"\d+|^cifar_", "", model.name)
