"""The settings that a sweep varies, and the points that it tries."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

DIGITS = 4
"""Significant digits of a number that is drawn from a range."""


@dataclass(frozen=True)
class Axis:
    """One key of the config and what a sweep tries there."""

    key: str  # path in the config, such as ``train.optimizer.kwargs.lr``
    values: tuple[str, ...] = ()  # YAML values to choose from; empty for a range
    low: float = 0.0  # lower end of a range
    high: float = 0.0  # upper end of a range
    log: bool = False  # whether the range is drawn on a logarithmic scale

    def distribution(self) -> Any:
        """Return Optuna's distribution."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution

        return CategoricalDistribution(self.values) if self.values else FloatDistribution(self.low, self.high, self.log)

    @property
    def ends(self) -> tuple[str, ...]:
        """Values whose configs are built before the first run."""
        return self.values or (yaml_number(self.low), yaml_number(self.high))


Point = Mapping[str, str]
"""Key in the config -> YAML value."""


def parse_grid(text: str) -> Axis:
    """Return the axis of ``--grid KEY=V1,V2``.

    Raises:
        ValueError: without a key, or with no values or one twice.

    Example:
        >>> parse_grid("train.optimizer.kwargs.lr=1e-2,0.1").values
        ('0.01', '0.1')
        >>> parse_grid("train.scheduler.kwargs.milestones=[1,2],[3]").values
        ('[1,2]', '[3]')
    """
    key, equals, rest = text.partition("=")
    # A comma inside brackets belongs to a value.
    values = tuple(_yaml_value(word.strip()) for word in re.split(r",(?![^\[{]*[\]}])", rest) if word.strip())
    if not equals or not key.strip() or not values:
        raise ValueError(f"--grid must be KEY=V1,V2, such as train.optimizer.kwargs.lr=0.01,0.1, found {text!r}")
    if len(set(values)) < len(values):
        raise ValueError(f"--grid {text}: every value must be given once")
    return Axis(key.strip(), values)


def parse_range(text: str) -> Axis:
    """Return the axis of ``--range KEY=LOW:HIGH`` or ``KEY=LOW:HIGH:log``.

    Raises:
        ValueError: on another form, ends in the wrong order, or a logarithmic range that begins at 0 or below.

    Example:
        >>> axis = parse_range("train.optimizer.kwargs.lr=1e-3:1e-1:log")
        >>> axis.low, axis.high, axis.log
        (0.001, 0.1, True)
    """
    found = re.fullmatch(r"\s*([^=\s]+)\s*=([^:]+):([^:]+)(:log)?", text)
    try:
        low, high = (float(found[2]), float(found[3])) if found else (1.0, 0.0)
    except ValueError:
        found = None
    if found is None:
        raise ValueError(f"--range must be KEY=LOW:HIGH or KEY=LOW:HIGH:log with two numbers, found {text!r}")
    if not low < high or (found[4] and low <= 0):
        raise ValueError(
            f"--range {text}: the first number must be below the second" + (" and above 0" if found[4] else "")
        )
    return Axis(found[1], (), low, high, bool(found[4]))


def grid(axes: Sequence[Axis]) -> list[Point]:
    """Return all combinations of values, the last axis fastest."""
    return [
        dict(zip([axis.key for axis in axes], values, strict=True))
        for values in itertools.product(*(axis.values for axis in axes))
    ]


def overrides(point: Point) -> list[str]:
    """Return a point as ``--set`` strings."""
    return [f"{key}={value}" for key, value in point.items()]


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Return the shortest ends of the keys that tell them apart.

    Example:
        >>> short_names(["train.optimizer.kwargs.lr", "sub_terms.kd.weight", "sub_terms.sp.weight"])
        {'train.optimizer.kwargs.lr': 'lr', 'sub_terms.kd.weight': 'kd.weight', 'sub_terms.sp.weight': 'sp.weight'}
    """
    short = {}
    for key in keys:
        parts = key.split(".")
        ends = (".".join(parts[-length:]) for length in range(1, len(parts) + 1))
        alone = (end for end in ends if sum(f".{other}".endswith(f".{end}") for other in keys) == 1)
        short[key] = next(alone, key)
    return short


def folder_name(point: Point) -> str:
    """Return the name of a point's folder.

    Example:
        >>> folder_name({"train.optimizer.kwargs.lr": "0.1", "train.scheduler.kwargs.milestones": "[1,2]"})
        'lr=0.1,milestones=1_2'
    """
    names = short_names(list(point))
    words = [f"{names[key]}={re.sub(r'[^A-Za-z0-9.+-]+', '_', value).strip('_')}" for key, value in point.items()]
    return ",".join(words)


def yaml_number(value: float) -> str:
    """Return a number as YAML reads it, to four digits.

    Example:
        >>> yaml_number(0.000012345678), yaml_number(3.0)
        ('1.235e-05', '3')
    """
    return _with_point(f"{value:.{DIGITS}g}")


def _with_point(number: str) -> str:
    """Return a number in a spelling that YAML 1.1 does not take for a word, as it does ``1e-05``."""
    return number if "e" not in number or "." in number else number.replace("e", ".0e")


def _yaml_value(text: str) -> str:
    try:
        number = float(text)
    except ValueError:
        return text
    return _with_point(repr(number)) if "e" in text.lower() else text
