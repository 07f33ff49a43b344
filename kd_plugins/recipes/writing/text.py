"""Readable YAML: short mappings on one line, long ones in a block."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from decimal import Decimal

from ...pairs.marks import Noted, Raw

WIDTH = 120
PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-~+=")


def scalar(value: object) -> str:
    """Return a scalar as YAML; None is empty.

    Example:
        >>> scalar(0.00005), scalar(True), scalar("."), scalar("layer3"), scalar(None)
        ('0.00005', 'True', "'.'", 'layer3', '')
    """
    if value is None:
        return ""
    if isinstance(value, Raw | bool | int):
        return str(value)
    if isinstance(value, float):
        # YAML 1.1 reads 5e-05 as a string.
        text = format(Decimal(repr(value)), "f")
        return text if "." in text else text + ".0"
    text = str(value)
    words = {"", ".", "~", "null", "true", "false", "yes", "no", "on", "off"}
    plain = set(text) <= PLAIN and text.lower() not in words and not _number_like(text)
    return text if plain else "'" + text.replace("'", "''") + "'"


def flow(value: object) -> str:
    """Return a value on one line.

    Example:
        >>> flow({"key": "SGD", "kwargs": {"lr": 0.05, "betas": [0.9, 1]}})
        '{key: SGD, kwargs: {lr: 0.05, betas: [0.9, 1]}}'
    """
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {flow(item)}".rstrip() for key, item in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(map(flow, value)) + "]"
    return scalar(value)


def entry(key: str, value: object, indent: int) -> list[str]:
    """Return the lines of ``key: value``, one line if it fits.

    Example:
        >>> entry("kwargs", {"a": 1, "b": "long" * 28}, 2)[:2]
        ['  kwargs:', '    a: 1']
    """
    pad = " " * indent
    one_line = f"{pad}{key}: {flow(value)}".rstrip()
    if not _has_notes(value) and (len(one_line) <= WIDTH or not isinstance(value, Mapping | list | tuple)):
        return [one_line]
    return [f"{pad}{key}:", *block(value, indent + 2)]


def block(value: object, indent: int) -> list[str]:
    """Return the lines of a mapping or list below its key."""
    pad = " " * indent
    lines: list[str] = []
    if isinstance(value, Mapping):
        notes = value.notes if isinstance(value, Noted) else {}
        for key, item in value.items():
            below = entry(key, item, indent)
            if key in notes:
                below[0] += f" # {notes[key]}"
            lines += below
        return lines
    for item in value if isinstance(value, list | tuple) else ():
        one_line = f"{pad}- {flow(item)}"
        if len(one_line) <= WIDTH or not isinstance(item, Mapping):
            lines.append(one_line)
        else:
            below = block(item, indent + 2)
            lines += [f"{pad}- {below[0].lstrip()}", *below[1:]]
    return lines


def comment(*sentences: str) -> list[str]:
    """Wrap each sentence into comment lines."""
    return [
        line
        for sentence in sentences
        for line in textwrap.wrap(sentence, WIDTH - 2, break_on_hyphens=False, break_long_words=False) or [""]
    ]


def _has_notes(value: object) -> bool:
    if isinstance(value, Mapping):
        return bool(getattr(value, "notes", None)) or any(map(_has_notes, value.values()))
    return False


def _number_like(text: str) -> bool:
    try:
        float(text.replace("_", ""))
    except ValueError:
        return False
    return True
