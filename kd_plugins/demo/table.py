"""The demo's results and their table."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import mean, median
from typing import Any

from .._tables import markdown_table
from ..recipes.data.digits import STUDENT_IMAGES, TEACHER, VALIDATED_FROM
from ..reports.runs_table import mean_and_sd, sample_sd
from .configs import STUDENT
from .methods import BASELINE, Variant

Summary = Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """One method."""

    method: str  # key of method and transform
    title: str  # name in the table
    accuracies: tuple[float, ...]  # top-1 in percent after the last epoch, one per seed
    mean: float  # mean of the accuracies
    sd: float | None  # their sample standard deviation; None for one seed
    gain: float | None  # mean minus the baseline's; None for the baseline
    seconds: float  # training time of a run; the median over the seeds, because other load on the machine biases a mean


@dataclass(frozen=True)
class Results:
    """All results of the demo."""

    seeds: tuple[int, ...]  # seeds of the students, in the order of every row's accuracies
    teacher: float  # top-1 in percent of the teacher's checkpoint
    teacher_seconds: float  # training time of the teacher
    test_images: int  # number of test images
    threads: tuple[int, ...]  # distinct numbers of CPU threads of the runs
    rows: tuple[Row, ...]  # one per method, the baseline first

    def as_dict(self) -> dict[str, Any]:
        """Return the contents of the JSON file."""
        return {"student": STUDENT, "teacher_model": TEACHER, **asdict(self)}


def collect(
    teacher: Summary, students: Mapping[Variant, Sequence[Summary]], seeds: Sequence[int], *, threads: Collection[int]
) -> Results:
    """Compute the results from the summaries of the runs: one of the teacher, and one per seed of each variant.

    The variants must include the baseline. ``threads`` are those of each run.
    """
    top1 = {
        variant: tuple(float(summary["test_last"]["top1"]) for summary in summaries)
        for variant, summaries in students.items()
    }
    rows = [
        Row(
            method=variant.key,
            title=variant.title,
            accuracies=accuracies,
            mean=mean(accuracies),
            sd=sample_sd(accuracies),
            gain=None if variant.method == BASELINE else mean(accuracies) - mean(top1[Variant(BASELINE)]),
            seconds=median(float(summary["seconds"]) for summary in students[variant]),
        )
        for variant, accuracies in top1.items()
    ]
    return Results(
        seeds=tuple(seeds),
        teacher=float(teacher["test_best"]["top1"]),
        teacher_seconds=float(teacher["seconds"]),
        test_images=int(teacher["test_best"]["samples"]),
        threads=tuple(sorted(set(threads))),
        rows=tuple(rows),
    )


def markdown(results: Results) -> str:
    """Return the table and its notes as Markdown."""
    heads = ("student", "method", "accuracy, %", "teacher, %", "gain, points", "time a run, s")
    cells = [
        (
            STUDENT,
            row.title,
            mean_and_sd(row.accuracies),
            f"{results.teacher:.2f}",
            "-" if row.gain is None else f"{row.gain:+.2f}",
            f"{row.seconds:.1f}",
        )
        for row in results.rows
    ]
    return "\n".join([*markdown_table(heads, cells, left=(0, 1)), "", *_notes(results)]) + "\n"


def _notes(results: Results) -> list[str]:
    count, seeds = len(results.seeds), ", ".join(map(str, results.seeds))
    over = f"of seed {seeds}" if count == 1 else f"mean +- sample standard deviation over {count} seeds ({seeds})"
    threads = " and ".join(map(str, results.threads))
    return [
        f"Accuracy: top-1 on {results.test_images} test images after the last epoch (the best epoch would be",
        f"selected on them), {over}.",
        f"One image is {100 / results.test_images:.2f} points.",
        f"Gain: over cross-entropy alone. Time: {'' if count == 1 else 'median over the seeds, '}with {threads} "
        f"{'thread' if results.threads == (1,) else 'threads'} of torch.",
        f"The teacher (a ViT, trained in {results.teacher_seconds:.0f} s) learned from {VALIDATED_FROM} images",
        "and keeps the epoch that was best on other training images.",
        f"The students have {STUDENT_IMAGES}: with all of them a CNN learns these digits without a teacher.",
    ]
