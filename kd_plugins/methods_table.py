"""The table of methods in README and docs: ``python -m kd_plugins.methods_table README.md docs/methods.md``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from .methods import METHODS, Loss, Method, Part

BEGIN, END = "<!-- methods:begin -->", "<!-- methods:end -->"


def methods_table() -> str:
    """Return a Markdown table with a row for every method, in the order of ``kd-plugins recipe``'s names."""
    rows = [_row(method) for method in METHODS.values()]
    return "\n".join(["| recipe | what it is | keys | source |", "|---|---|---|---|", *rows])


def with_table(text: str) -> str:
    """Return a document with the table between its two markers written anew.

    Raises:
        ValueError: when a marker is missing.
    """
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the document needs the lines {BEGIN} and {END}")
    return f"{head}{BEGIN}\n{methods_table()}\n{END}{tail}"


def main(paths: Sequence[str]) -> None:
    """Write the table into the documents."""
    try:
        for path in map(Path, paths):
            path.write_text(with_table(path.read_text(encoding="utf-8")), encoding="utf-8")
    except (ValueError, OSError) as error:
        raise SystemExit(str(error)) from error


def _row(method: Method) -> str:
    parts: list[Loss | Part] = [*method.losses, *method.parts]
    keys = dict.fromkeys([method.key, *(part.key for part in parts)])
    return f"| `{method.name}` | {method.summary} | {', '.join(f'`{key}`' for key in keys)} | {method.paper} |"


if __name__ == "__main__":
    main(sys.argv[1:])
