"""A table of finished runs as Markdown, CSV or JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from statistics import mean, median
from typing import Any

from .._tables import escaped, markdown_table
from ..runtime.metrics import SCORES
from .runs_table import RunsRow, mean_and_sd, sample_sd

NOISE = "~"


def markdown(rows: Sequence[RunsRow]) -> str:
    """Return the table as Markdown, with a note that explains the numbers.

    Example:
        >>> row = RunsRow("kd.yaml", (0, 1), (76.0, 77.0), (75.5, 76.5), 79.42, "76.66 (LSKD, Table 1)", ("a", "b"))
        >>> print(markdown([row]).splitlines()[2])
        | kd.yaml |  2 | 76.50 +- 0.71 | 76.00 +- 0.71 |   - |      - |       - |   79.42 | 76.66 (LSKD, Table 1) |
    """
    base = next((row for row in rows if row.is_baseline), None)
    heads = ["config", "n", "best, %", "last, %", "NLL", "ECE, %", "time, s", "teacher", "reported"]
    cells = [
        [
            row.name,
            str(len(row.seeds)),
            mean_and_sd(row.best),
            mean_and_sd(row.last),
            "-" if row.nll is None else f"{mean(row.nll):.3f}",
            "-" if row.ece is None else f"{mean(row.ece):.2f}",
            "-" if row.seconds is None else f"{median(row.seconds):.1f}",
            "-" if row.teacher is None else f"{row.teacher:.2f}",
            row.reported or "-",
        ]
        for row in rows
    ]
    if base is not None:
        heads.insert(4, "gain, points")
        for row, line in zip(rows, cells, strict=True):
            line.insert(4, _gain(row))
    table = markdown_table(heads, cells, left=(0, len(heads) - 1))
    return "\n".join([*table, "", *_notes(rows, base)]) + "\n"


def as_json(rows: Sequence[RunsRow]) -> str:
    """Return the rows as JSON, with mean and standard deviation (null with one seed)."""
    filled = [
        {
            **asdict(row),
            "best_mean": mean(row.best),
            "last_mean": mean(row.last),
            "best_sd": sample_sd(row.best),
            "last_sd": sample_sd(row.last),
            "nll_mean": None if row.nll is None else mean(row.nll),
            "ece_mean": None if row.ece is None else mean(row.ece),
            "within_noise": None if row.gain is None else row.gain.within_noise,
        }
        for row in rows
    ]
    return json.dumps(filled, indent=2) + "\n"


def as_csv(rows: Sequence[RunsRow]) -> str:
    """Return the table as CSV: a head and one line per config, with empty cells for what is not known.

    Example:
        >>> row = RunsRow("kd.yaml", (0, 1), (76.0, 77.0), (75.5, 76.5), None, "", ("a", "b"), nll=(0.75, 0.25))
        >>> print(as_csv([row]).splitlines()[1])
        kd.yaml,0 1,2,top-1,76.5,0.7071067811865476,76.0,0.7071067811865476,,,,,,0.5,,,,
    """
    file = io.StringIO()
    lines = [_csv_line(row) for row in rows]
    writer = csv.DictWriter(file, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return file.getvalue()


FORMATS: dict[str, Callable[[Sequence[RunsRow]], str]] = {"md": markdown, "csv": as_csv, "json": as_json}
"""Values of ``report --format``."""


def _csv_line(row: RunsRow) -> dict[str, Any]:
    gain = row.gain
    return {
        "config": row.name,
        "seeds": " ".join(map(str, row.seeds)),
        "n": len(row.seeds),
        "metric": row.metric,
        "best_mean": mean(row.best),
        "best_sd": sample_sd(row.best),
        "last_mean": mean(row.last),
        "last_sd": sample_sd(row.last),
        "gain": gain and gain.mean,
        "gain_low": gain and gain.low,
        "gain_high": gain and gain.high,
        "gain_seeds": gain and gain.seeds,
        "within_noise": gain and gain.within_noise,
        "nll": None if row.nll is None else mean(row.nll),
        "ece": None if row.ece is None else mean(row.ece),
        "seconds": None if row.seconds is None else median(row.seconds),
        "teacher": row.teacher,
        "reported": row.reported,
    }


def _gain(row: RunsRow) -> str:
    if row.gain is None:
        return "baseline" if row.is_baseline else "no shared seed"
    return f"{row.gain} {NOISE}" if row.gain.within_noise else str(row.gain)


def _notes(rows: Sequence[RunsRow], base: RunsRow | None) -> list[str]:
    # The lines end where they end for classification.
    score = (
        "AP of boxes (IoU 0.50 to 0.95)" if rows[0].metric == SCORES["ap"] else "Top-1 (mAP with metric: multilabel)"
    )
    notes = [
        f"{score} on the test set, mean +- sample standard deviation over seeds. Best: the",
        "epoch with the best validation score, which is selected on the test set if the config validates on it. Last:",
        "the last epoch. NLL (nats) and ECE (15 bins): calibration on the test set, best epoch, mean over seeds. Time:",
        "training of one run, median over seeds.",
    ]
    if base is not None:
        notes += [
            f"Gain: best minus that of {escaped(base.name)} with the same seed, mean over shared seeds and 95 % t "
            "interval.",
            f"{NOISE} marks a gain within noise: its interval contains 0, or fewer than two seeds are shared.",
        ]
    seeds = "; ".join(f"{escaped(row.name)}: {', '.join(map(str, row.seeds))}" for row in rows)
    return [*notes, f"Seeds: {seeds}."]
