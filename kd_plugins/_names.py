"""Messages about known and unknown names; does not import torch."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: object, known: Iterable[str], *, count: int = 3) -> list[str]:
    """Return the known names that look most like ``name``, best first.

    Example:
        >>> nearest("LSKDLos", ["CKDLoss", "LSKDLoss"])[0]
        'LSKDLoss'
    """
    wanted = str(name).lower()
    by_lower: dict[str, str] = {}
    for candidate in known:
        by_lower.setdefault(candidate.lower(), candidate)
    close = difflib.get_close_matches(wanted, by_lower, n=count, cutoff=0.5)
    inside = [low for low in sorted(by_lower) if wanted and wanted in low and low not in close]
    return [by_lower[low] for low in (close + inside)[:count]]


def suggestion(name: object, known: Iterable[str]) -> str:
    """Return the end of an error about an unknown name: the nearest known ones, or all when there are few."""
    names = sorted(set(known))
    close = nearest(name, names)
    if close:
        return "did you mean " + " or ".join(repr(n) for n in close) + "?"
    if not names:
        return "none is known"
    if len(names) <= 12:
        return "known: " + ", ".join(names)
    return f"{len(names)} names are known, none is near"


def unknown_name(what: str, name: object, known: Iterable[str], *, where: str = "") -> ValueError:
    """Return the error for a name that nothing is registered under.

    Args:
        what: kind of thing the name should name, such as ``"loss"``.
        name: what was found.
        known: the names that exist.
        where: place in the config, such as ``"train.criterion.key (line 12)"``.
    """
    place = f" at {where}" if where else ""
    return ValueError(f"unknown {what} {name!r}{place}; {suggestion(name, known)}")


def enumerated(names: Iterable[object], most: int = 5) -> str:
    """Return names as a list, the first few of many.

    Example:
        >>> enumerated("abc", most=2)
        'a, b, ... (3 in all)'
    """
    shown = [str(name) for name in names]
    return ", ".join(shown[:most]) + (f", ... ({len(shown)} in all)" if len(shown) > most else "")
