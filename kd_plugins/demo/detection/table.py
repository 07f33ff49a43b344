"""The results of the demo of detection and their table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median
from typing import Any

from ..._tables import markdown_table
from ...methods import BASELINE
from ...reports.runs_table import mean_and_sd

SCORES = ("ap", "ap50", "ap75")


@dataclass(frozen=True)
class DetectionRow:
    """One method."""

    method: str  # name of the recipe; the student alone is ``ce``
    scores: Mapping[str, Sequence[float]]  # AP, AP50, AP75 in percent after the last epoch, a number per seed each
    gain: float | None  # mean AP minus that of the student alone; None for the latter
    seconds: float  # training time of a run, median over the seeds


@dataclass(frozen=True)
class DetectionResults:
    """All results."""

    seeds: Sequence[int]  # seeds of the students, in the order of the scores
    teacher: Mapping[str, float]  # scores of the teacher
    test_images: int  # number of test images
    threads: Sequence[int]  # distinct numbers of CPU threads of the runs
    schedule: Mapping[str, int]  # images and epochs
    rows: Sequence[DetectionRow]  # one per method, the student alone first


def collect(
    teacher: Mapping[str, Any],
    students: Mapping[str, Sequence[Mapping[str, Any]]],
    seeds: Sequence[int],
    *,
    threads: Sequence[int],
    schedule: Mapping[str, int],
) -> DetectionResults:
    """Compute the results from the summaries of the runs; ``students`` has the student alone first."""
    scores = {
        method: {name: [float(one["test_last"][name]) for one in summaries] for name in SCORES}
        for method, summaries in students.items()
    }
    base = mean(scores[BASELINE]["ap"])
    rows = [
        DetectionRow(
            method,
            scores[method],
            None if method == BASELINE else mean(scores[method]["ap"]) - base,
            median(float(one["seconds"]) for one in summaries),
        )
        for method, summaries in students.items()
    ]
    best = teacher["test_best"]
    return DetectionResults(
        list(seeds), {name: best[name] for name in SCORES}, int(best["samples"]), list(threads), dict(schedule), rows
    )


def markdown(results: DetectionResults) -> str:
    """Return the table and its notes as Markdown."""
    heads = ("how the student learns", "AP", "AP50", "AP75", "gain, AP", "time a run, s")
    cells = [
        (
            "own losses alone" if row.method == BASELINE else f"+ {row.method}",
            *(mean_and_sd(row.scores[name]) for name in SCORES),
            "-" if row.gain is None else f"{row.gain:+.2f}",
            f"{row.seconds:.1f}",
        )
        for row in results.rows
    ]
    cells.append(("the teacher", *(f"{results.teacher[name]:.2f}" for name in SCORES), "-", "-"))
    count, schedule = len(results.seeds), results.schedule
    over = f"seed {results.seeds[0]}" if count == 1 else f"mean +- sample standard deviation over {count} seeds"
    threads = " and ".join(map(str, results.threads))
    notes = [
        f"AP of boxes (IoU 0.50 to 0.95) on {results.test_images} test canvases after the last epoch, {over}.",
        f"The teacher learned from {schedule['teacher_images']} canvases in {schedule['teacher_epochs']} epochs, the "
        f"students from {schedule['student_images']} in {schedule['student_epochs']}.",
        f"Time: with {threads} {'thread' if threads == '1' else 'threads'} of torch. A gain within the spread of the "
        "seeds shows nothing.",
    ]
    return "\n".join([*markdown_table(heads, cells, left=(0,)), "", *notes]) + "\n"
