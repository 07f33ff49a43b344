"""Lists on the command line."""

from __future__ import annotations


def names(text: str) -> list[str]:
    """Return the names in ``a,b``."""
    return [name.strip() for name in text.split(",") if name.strip()]


def floats(option: str, text: str | None) -> tuple[float, ...] | None:
    """Return the numbers in ``0.5,0.5``."""
    if text is None:
        return None
    try:
        return tuple(float(name) for name in names(text))
    except ValueError:
        raise ValueError(f"{option} must be numbers, such as 0.5,0.5,0.5, found {text!r}") from None


def numbers(option: str, text: str) -> list[int]:
    """Return the whole numbers in ``0,1,2``."""
    try:
        found = [int(name) for name in names(text)]
    except ValueError:
        found = []
    if not found or len(set(found)) != len(found):
        raise ValueError(f"{option} must be distinct whole numbers, such as 0,1,2, found {text!r}")
    return found
