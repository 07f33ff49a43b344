"""Tables as Markdown that is also readable as plain text, and as plain text alone."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def escaped(text: str) -> str:
    r"""Return text escaped for a table cell.

    Example:
        >>> print(escaped("a|b\nc"))
        a\|b c
    """
    return " ".join(text.splitlines()).replace("|", r"\|")


def markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, left: Collection[int] = (0,)) -> list[str]:
    r"""Return the lines of a Markdown table with padded columns.

    Args:
        heads: names of the columns.
        rows: cells, one per column; they are escaped.
        left: columns that are aligned to the left; the others are aligned to the right.

    Example:
        >>> print("\n".join(markdown_table(["loss", "ratio"], [["kd", "0.55"]])))
        | loss | ratio |
        | ---- | ----: |
        | kd   |  0.55 |
    """
    heads, rows = [escaped(head) for head in heads], [[escaped(cell) for cell in row] for row in rows]
    # The rule of a column needs at least two characters in Markdown.
    padded = _padded([heads, *rows], left, least=2)
    rule = ["-" * len(cell) if i in left else "-" * (len(cell) - 1) + ":" for i, cell in enumerate(padded[0])]
    return [f"| {' | '.join(line)} |" for line in (padded[0], rule, *padded[1:])]


def text_table(rows: Sequence[Sequence[str]], *, left: Collection[int] = (0,)) -> list[str]:
    r"""Return the lines of a table without rules; the first row holds the heads.

    Example:
        >>> print("\n".join(text_table([["loss", "ratio"], ["kd", "0.55"]])))
        loss  ratio
        kd     0.55
    """
    return ["  ".join(line).rstrip() for line in _padded(rows, left)]


def _padded(rows: Sequence[Sequence[str]], left: Collection[int], least: int = 0) -> list[list[str]]:
    widths = [max(least, *map(len, column)) for column in zip(*rows, strict=True)]
    return [
        [c.ljust(w) if i in left else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True))]
        for line in rows
    ]
