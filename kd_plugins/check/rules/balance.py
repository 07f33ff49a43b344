"""How much the gradient of each term counts beside the gradient of the others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...methods import METHODS
from ...recipes.detection.terms import weights_written
from ...recipes.tables import SETTINGS
from ..findings import FINE, Findings
from ..stage import Stage, kwargs_of
from ..steps.observed import Observed, cross_entropies

HEAVY, LIGHT = 5.0, 1 / 50
"""A term is reported if its gradient is more than ``HEAVY`` or less than ``LIGHT`` times that of the other terms."""

OF_THE_RECIPE = (
    "This is the paper's weight (the recipe's, if the paper gives none), chosen for the paper's schedule; NLL and ECE "
    "of the run show whether it fits."
)


def check_balance(findings: Findings, seen: Observed, stage: Stage) -> list[str]:
    """Add terms whose gradient is far from the others'; return remarks on those at the weight of their recipe.

    The others are measured against the cross-entropy, so it is not reported itself.
    """
    if seen.eager:
        return []  # the student back-propagates a part of the loss itself
    weights, whole = {term.name: term.weight for term in seen.terms}, sum(seen.compared.values())
    labels = next(iter(cross_entropies(stage.section)), "")
    ratios = {
        name: own / (whole - own)
        for name, own in seen.compared.items()
        if name in stage.terms and name != labels and 0 < own < whole  # a detector's own losses are no terms
    }
    # Beside a heavy term, all others look light.
    odd = {name: ratio for name, ratio in ratios.items() if ratio > HEAVY} or {
        name: ratio
        for name, ratio in ratios.items()
        if ratio < LIGHT and not kwargs_of(stage.terms[name]["criterion"]).get("warmup")
    }
    remarks = []
    for name, ratio in odd.items():
        where = (*stage.terms_path, name)
        if _is_reported(findings, where):
            continue
        message = (
            f"term {name}: its gradient is {_short(ratio)} times the gradient of the other terms; at weight "
            f"{_short(weights[name] / ratio)} (now {weights[name]:g}) both would be equal"
        )
        if (weights[name], weights.get(labels, 0.0)) in _of_the_recipe(stage, name):
            remarks.append(f"{message}. {OF_THE_RECIPE}")
        else:
            findings.warning(message, *where, "weight")
    return remarks


def _short(number: float) -> str:
    """Round to two digits, without an exponent for a number such as 120."""
    return f"{float(f'{number:.2g}'):g}"


def _is_reported(findings: Findings, where: tuple[object, ...]) -> bool:
    """Tell whether another rule reports the term or its weight already."""
    places = [".".join(map(str, path)) for path in (where, (*where, "weight"))]
    return any(found.level != FINE and found.place in places for found in findings)


def _of_the_recipe(stage: Stage, name: str) -> Iterator[tuple[float, float]]:
    """Yield the weights of a term and of the cross-entropy that ``kd-plugins recipe`` writes."""
    term = stage.terms[name]
    if stage.model_term:
        yield from ((weight, 0.0) for weight in weights_written(term["criterion"]["key"]))
    several = len(stage.terms) - len(cross_entropies(stage.section)) > 1
    standardized = (term.get("criterion_wrapper") or {}).get("key") == "LogitStandardization"
    for method in METHODS.values():
        if term["criterion"]["key"] not in (method.key, method.masked) and name != method.name:
            continue
        own: Any = (method.standardized or ({},))[0] if standardized else {}
        table = method.name + ("_ls" if standardized else "")
        given = kwargs_of(term["criterion"])
        for row in ({}, method.imagenet, *(setting.values for setting in SETTINGS if setting.method == table)):
            values = {"weight": method.weight, "ce": given.get(method.ce_from, method.ce), **own, **row}
            yield values["weight"], values["ce"]
            if several:  # in a sum, the cross-entropy has its full weight, and KD's is 1
                yield values["weight"], 1.0
                yield 1.0, 1.0
