"""A paper's table of accuracies as data, and the hyperparameters of its rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Pair = tuple[str, str]
"""Names of teacher and student."""


@dataclass(frozen=True)
class Reported:
    """An accuracy that a paper reports.

    Example:
        >>> str(Reported(76.29, "letKD, Table 1", 0.15))
        '76.29 +- 0.15 (letKD, Table 1)'
    """

    accuracy: float  # top-1 in percent
    source: str  # paper and table
    sd: float | None = None  # standard deviation over the runs; None if the paper has none

    def __str__(self) -> str:
        spread = "" if self.sd is None else f" +- {self.sd:.2f}"
        return f"{self.accuracy:.2f}{spread} ({self.source})"


@dataclass(frozen=True)
class Table:
    """Accuracies of one table: method -> a number per column, ``-`` for none, ``76.29±.15`` with a standard deviation.

    ``teacher`` and ``ce`` are the accuracies of the teacher and of the student alone.
    """

    source: str  # paper and table
    dataset: str
    pairs: str  # the columns: ``teacher>student``, separated by spaces
    rows: Mapping[str, str]
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # changed settings of the methods

    def reported(self) -> Iterator[tuple[str, str, Pair, Reported]]:
        """Yield method, data set, pair and accuracy of every cell with a number."""
        columns = list(split_pairs(self.pairs))
        for method, cells in self.rows.items():
            for pair, cell in zip(columns, cells.split(), strict=True):
                if cell == "-":
                    continue
                accuracy, _, sd = cell.partition("±")
                yield method, self.dataset, pair, Reported(float(accuracy), self.source, float(sd) if sd else None)


def tables(text: str) -> Iterator[Table]:
    r"""Yield the tables of a text, whose paragraphs are laid out as in the papers.

    The first line is ``source: data set``. Lines of pairs name the columns, and every other line is a row. Lines that
    begin with ``#`` are comments.

    Example:
        >>> (table,) = tables("A, Table 1: cifar10\nvgg13>vgg8 vgg19>vgg8\nkd 93.1 -")
        >>> table.pairs, dict(table.rows)
        ('vgg13>vgg8 vgg19>vgg8', {'kd': '93.1 -'})
    """
    for paragraph in text.strip().split("\n\n"):
        head, *lines = [line.strip() for line in paragraph.splitlines() if not line.strip().startswith("#")]
        source, _, dataset = head.rpartition(": ")
        pairs = " ".join(line for line in lines if ">" in line)
        rows = dict(line.split(maxsplit=1) for line in lines if ">" not in line)
        yield Table(source, dataset, pairs, rows)


@dataclass(frozen=True)
class Setting:
    """Hyperparameters of a method for some pairs, ``teacher>student``, separated by spaces.

    ``values`` are keywords of the criterion that differ from the method's defaults, ``weight``, ``ce`` and ``batch``,
    and a sentence ``source`` that replaces the method's.
    """

    method: str
    dataset: str
    pairs: str
    values: Mapping[str, Any]


def split_pairs(text: str) -> Iterable[Pair]:
    """Split ``"a>b c>d"`` into pairs.

    Example:
        >>> list(split_pairs("vgg13>vgg8 wrn_40_2>wrn_16_2"))
        [('vgg13', 'vgg8'), ('wrn_40_2', 'wrn_16_2')]
    """
    for word in text.split():
        teacher, student = word.split(">")
        yield teacher, student
