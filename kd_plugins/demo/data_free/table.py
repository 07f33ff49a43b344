"""The results of the demo of data-free distillation and their table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from ..._tables import markdown_table
from ...reports.paired import Gain, paired_gain
from ...reports.runs_table import mean_and_sd


@dataclass(frozen=True)
class Images:
    """What the synthesis says of one kind of images, averaged over the shards."""

    agreement: float  # share of images in which the teacher sees the requested label
    batch_norms: float | None  # the batch-norm term; None where it was not measured


@dataclass(frozen=True)
class DataFreeRow:
    """One way to teach the student."""

    images: str  # kind of images
    method: str  # name of the recipe
    accuracies: Mapping[int, float]  # top-1 in percent after the last epoch, by seed
    gain: Gain | None  # over the first row, paired by seed; None for the first row
    about: Images | None  # what the synthesis says of the images; None for real ones


@dataclass(frozen=True)
class DataFreeResults:
    """All results."""

    teacher: float  # top-1 of the teacher in percent
    schedule: Mapping[str, int]  # epochs, images and steps
    rows: Sequence[DataFreeRow]  # one per kind of images and method


def described(info: Mapping[str, Any]) -> Images:
    """Return the means over the shards of a ``synthesis.json``.

    Example:
        >>> shard = {"agreement": 0.5, "terms": {"bn": 3.0}}
        >>> described({"shards": {"shard-00000": shard, "shard-00001": {**shard, "agreement": 1.0}}})
        Images(agreement=0.75, batch_norms=3.0)
    """
    shards = list(info["shards"].values())
    terms = [shard["terms"]["bn"] for shard in shards if "bn" in shard["terms"]]
    return Images(mean(shard["agreement"] for shard in shards), mean(terms) if terms else None)


def collect(
    accuracies: Mapping[tuple[str, str], Mapping[int, float]],
    about: Mapping[str, Images],
    *,
    teacher: float,
    schedule: Mapping[str, int],
) -> DataFreeResults:
    """Return the results of accuracies by (images, method) and seed; gains are over the first one."""
    base = next(iter(accuracies))
    rows = [
        DataFreeRow(
            images, method, found, None if (images, method) == base else paired_gain(found, accuracies[base]),
            about.get(images),
        )
        for (images, method), found in accuracies.items()
    ]  # fmt: skip
    return DataFreeResults(teacher, dict(schedule), rows)


def markdown(results: DataFreeResults) -> str:
    """Return the table and its notes as Markdown."""
    first = results.rows[0]
    heads = ("images", "method", "top-1, %", "gain, points", "agreement", "batch-norm term")
    cells = [
        (
            row.images,
            row.method,
            mean_and_sd(list(row.accuracies.values())),
            "baseline" if row.gain is None else f"{row.gain}{' ~' if row.gain.within_noise else ''}",
            "-" if row.about is None else f"{row.about.agreement:.2f}",
            "-" if row.about is None or row.about.batch_norms is None else f"{row.about.batch_norms:.2f}",
        )
        for row in results.rows
    ]
    count, schedule = len(first.accuracies), results.schedule
    over = f"seed {next(iter(first.accuracies))}" if count == 1 else f"mean +- sample standard deviation, {count} seeds"
    notes = [
        f"Top-1 of ResNet-8 on the 360 test digits after the last epoch: {over}. The teacher, ResNet-20, has "
        f"{results.teacher:.2f} %.",
        f"Students see {schedule['images']} images, and no labels. Images: {schedule['steps']} steps, in batches of "
        f"{schedule['batch']}.",
        f"Gain: over {first.method} on {first.images} images with the same seed, with the 95 % t interval; ~ marks one "
        "within noise.",
        "Agreement: share of images in which the teacher sees the requested label. It does not tell how much a student "
        "learns from them.",
    ]
    return "\n".join([*markdown_table(heads, cells, left=(0, 1)), "", *notes]) + "\n"
