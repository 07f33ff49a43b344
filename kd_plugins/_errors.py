"""The error for configs, and one-line messages for other errors."""

from __future__ import annotations

from ._checks import suggestion


class ConfigError(ValueError):
    """A mistake in a config or in its use; the message says what and where."""


def explain(error: BaseException) -> str:
    """Return an error's message on one line; for an unknown attribute, suggest similar names."""
    text = " ".join(str(error).split())
    if isinstance(error, AttributeError) and error.name and error.obj is not None:
        return f"{text}; {suggestion(error.name, [n for n in dir(error.obj) if not n.startswith('_')])}"
    return (
        text if isinstance(error, (ValueError, RuntimeError, OSError)) and text else f"{type(error).__name__}: {text}"
    )
