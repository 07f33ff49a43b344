"""Changed settings of a method: ``--option KEY=VALUE``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from .._names import unknown_name
from .plan import Summand, parse_keep, sum_name
from .writing.text import flow

Options = Mapping[str, Any]


def parse_options(words: Sequence[str], summands: Sequence[Summand]) -> list[dict[str, Any]]:
    """Return the options of every method of a sum, in the order of the method's record.

    A word is ``KEY=VALUE`` with a YAML value; ``METHOD.KEY=VALUE`` in a sum of methods.

    Raises:
        ValueError: for a malformed word, an unknown method or option, or a value of the wrong type or not among the
            choices.

    Example:
        >>> from kd_plugins.recipes.plan import parse_method
        >>> parse_options(["cuts=[3,6,9]", "max_weight=1"], parse_method("lakd"))
        [{'cuts': [3, 6, 9], 'max_weight': 1.0}]
    """
    made: list[dict[str, Any]] = [{} for _ in summands]
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name.strip() or not text.strip():
            raise ValueError(f"--option takes KEY=VALUE, such as temperature=2, found {word!r}")
        number, key = _method_of(name.strip(), summands)
        known = _known(summands[number], alone=len(summands) == 1)
        if key not in known:
            raise unknown_name(f"option of {summands[number].name}", key, known)
        if key in made[number]:
            raise ValueError(f"--option {name} is given twice")
        if key == "keep":
            made[number][key] = parse_keep(text, word, flag="--option")
            continue
        if text.strip() == "auto" and key in summands[number].method.automatic:
            made[number][key] = "auto"
            continue
        value = made[number][key] = _value(word, text, known[key])
        choices = summands[number].method.choices.get(key, (value,))
        if value not in choices:
            raise unknown_name(f"value of --option {key}", value, choices)
    orders = [list(_known(summand, alone=True)) for summand in summands]
    return [{key: own[key] for key in order if key in own} for order, own in zip(orders, made, strict=True)]


def option_words(options: Options) -> tuple[str, ...]:
    """Return options as words of the command line.

    Example:
        >>> option_words({"cuts": [3, 6, 9], "max_weight": 0.75})
        ('cuts=[3,6,9]', 'max_weight=0.75')
    """
    return tuple(f"{key}={flow(value).replace(', ', ',')}" for key, value in options.items())


def option_stem(words: Sequence[str]) -> str:
    """Return the suffix of a file name for options.

    Example:
        >>> option_stem(["cuts=[3,6,9]", "max_weight=0.75"])
        '_cuts_3_6_9_max_weight_0.75'
    """
    return "".join("_" + re.sub(r"[^\w.]+", "_", word).strip("_") for word in words).lower()


def _method_of(name: str, summands: Sequence[Summand]) -> tuple[int, str]:
    """Return the index of the method that an option belongs to, and the option's key."""
    if len(summands) == 1:
        return 0, name
    names = [summand.name for summand in summands]
    method, dot, key = name.rpartition(".")
    if not dot:
        raise ValueError(
            f"--option {name} of {sum_name(summands)} needs the method that it is of: "
            f"{' or '.join(f'{one}.{name}=...' for one in names)}"
        )
    if method not in names:
        raise unknown_name(f"method of --option {name}", method, names)
    return names.index(method), key


def _known(summand: Summand, *, alone: bool) -> dict[str, Any]:
    """Return the options of a method, each with a value of its type; None if any type is allowed."""
    method = summand.method
    known: dict[str, Any] = {**dict.fromkeys(method.options), **method.values}
    known |= {**method.keywords, **method.student_keywords, "weight": method.weight}
    if summand.masked:
        known["keep"] = 0.5
    return {**known, "ce": method.ce, "batch": 64} if alone else known


def _value(word: str, text: str, like: object) -> Any:
    import yaml

    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"--option {word}: the value is no YAML; a list is KEY=[1,2]") from error
    if isinstance(value, str) and not isinstance(like, str):
        with suppress(ValueError):  # YAML 1.1 reads 1e-3 as a string
            value = float(value)
    if isinstance(like, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if like is not None and type(value) is not type(like):
        raise ValueError(f"--option {word}: the value must be like the default, {flow(like)}")
    return value
