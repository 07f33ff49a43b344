"""The papers' tables: reported results and hyperparameters."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from ..options import option_words
from . import ckd, digits, lakd, letkd, lskd, sfkd
from .table import Pair, Reported, Setting, Table, split_pairs

PAPERS = (lskd, ckd, sfkd, lakd, letkd)
TABLES: tuple[Table, ...] = tuple(table for paper in PAPERS for table in paper.TABLES)
SETTINGS: tuple[Setting, ...] = tuple(setting for part in (*PAPERS, digits) for setting in part.SETTINGS)
ALONE = ("teacher", "ce")

__all__ = ["ALONE", "SETTINGS", "TABLES", "Pair", "Reported", "pairs_of", "reported", "settings_of"]

Key = tuple[str, str, Pair]


@cache
def _reported() -> dict[tuple[Key, frozenset[str]], list[Reported]]:
    found: dict[tuple[Key, frozenset[str]], list[Reported]] = {}
    for table in TABLES:
        options = frozenset(option_words(table.options))
        for method, dataset, pair, value in table.reported():
            held = found.setdefault(((method, dataset, pair), options), [])
            # Several papers report the same baselines.
            if value.accuracy not in [other.accuracy for other in held]:
                held.append(value)
    return found


@cache
def _settings() -> dict[Key, Mapping[str, Any]]:
    return {(s.method, s.dataset, pair): s.values for s in SETTINGS for pair in split_pairs(s.pairs)}


def reported(
    method: str, teacher: str, student: str, dataset: str, options: Mapping[str, Any] | None = None
) -> list[Reported]:
    """Return the papers' results for a row, each number from its first source.

    Args:
        method: such as ``"kd"``, ``"dkd_ls"`` or ``"sp_sfkd+kd"``; ``"ce"`` is the student alone.
        teacher: name of the teacher; several are separated by commas.
        student: name of the student.
        dataset: name of the data set.
        options: changed settings of the method.

    Example:
        >>> [str(value) for value in reported("lskd", "resnet32x4", "resnet8x4", "cifar100")]
        ['76.62 (LSKD, Table 2)', "76.66 (LSKD, the authors' log, best epoch)"]
    """
    words = frozenset(option_words(options or {}))
    return list(_reported().get(((method, dataset, (teacher, student)), words), ()))


def settings_of(method: str, teacher: str, student: str, dataset: str) -> Mapping[str, Any]:
    """Return the hyperparameters of a row that differ from the method's defaults."""
    return _settings().get((method, dataset, (teacher, student)), {})


def pairs_of(method: str, dataset: str) -> list[Pair]:
    """Return the papers' pairs for a method on a data set, in their order."""
    keys = [*(key for key, _ in _reported()), *_settings()]
    return list(dict.fromkeys(pair for name, on, pair in keys if (name, on) == (method, dataset)))
