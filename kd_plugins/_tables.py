"""Tables as Markdown that is also readable as plain text."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def escaped(text: str) -> str:
    r"""Return a text that stays in one cell of a table.

    Example:
        >>> print(escaped("a|b\nc"))
        a\|b c
    """
    return " ".join(text.splitlines()).replace("|", r"\|")


def markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, left: Collection[int] = (0,)) -> list[str]:
    r"""Return the lines of a table whose columns are padded to one width.

    Args:
        heads: names of the columns.
        rows: cells, one a column; what would end a cell or a line is escaped.
        left: columns that are aligned to the left, as words are; the others to the right, as numbers are.

    Example:
        >>> print("\n".join(markdown_table(["loss", "ratio"], [["kd", "0.55"]])))
        | loss | ratio |
        | ---- | ----: |
        | kd   |  0.55 |
    """
    heads, rows = [escaped(head) for head in heads], [[escaped(cell) for cell in row] for row in rows]
    # A rule of one column is -: at least, or Markdown sees no table.
    widths = [max(2, *map(len, column)) for column in zip(heads, *rows, strict=True)]
    rule = ["-" * width if i in left else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    padded = [
        [c.ljust(w) if i in left else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True))]
        for line in (heads, *rows)
    ]
    return [f"| {' | '.join(line)} |" for line in (padded[0], rule, *padded[1:])]
