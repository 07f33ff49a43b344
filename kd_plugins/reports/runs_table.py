"""The rows of a table of finished runs: one per config, with its gain over the baseline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from .._checks import unknown_name
from ..runtime.metrics import SCORES, main_name, main_score
from ..training.run_folder import RunError
from .paired import Gain, paired_gain
from .runs import FinishedRun, refuse_mixed_schedules


@dataclass(frozen=True)
class RunsRow:
    """All runs of one config."""

    name: str  # name of the config file; with a folder where two configs have the same name
    seeds: tuple[int, ...]  # seeds of the runs, sorted
    best: tuple[float, ...]  # test score (top-1 or mAP) in percent of the epoch selected by validation, one per seed
    last: tuple[float, ...]  # test score after the last epoch, one per seed
    teacher: float | None  # score of the teacher, or None
    reported: str  # the paper's result, as given in the config; may be empty
    folders: tuple[str, ...]  # folders of the runs
    metric: str = "top-1"  # label of the score
    # Calibration on the test set, best epoch, one per seed; None where a run lacks it.
    nll: tuple[float, ...] | None = None  # negative log-likelihood in nats
    ece: tuple[float, ...] | None = None  # expected calibration error in percent
    seconds: tuple[float, ...] | None = None  # training time, one per seed
    gain: Gain | None = None  # of ``best`` over the baseline; None for the latter, without one, or a shared seed
    is_baseline: bool = False  # whether other rows are compared with this one


def tabulate(runs: Sequence[FinishedRun], *, baseline: str | None = None) -> list[RunsRow]:
    """Return one row per config, which combines the runs of its seeds.

    Args:
        runs: of one or more configs.
        baseline: the config that others are compared with: its file name, with or without ``.yaml``, or its name in the
            table. By default the only one without a teacher, else the first.

    Raises:
        RunError: if schedules differ, a run was not tested, or two runs have the same config and seed.
        ValueError: if ``baseline`` is no row, or more than one.
    """
    if not runs:
        raise RunError("there are no runs to report; name at least one run folder")
    refuse_mixed_schedules(runs)
    groups: dict[str, list[FinishedRun]] = {}
    for run in runs:
        if run.summary["test_best"] is None:
            raise RunError(
                f"the run in {run.path} was not tested: add test.test_data_loader to its config. If it is a point of a "
                "sweep, test it with `kd-plugins train CONFIG --run-dir RUN --resume` and the point's --set"
            )
        if main_name(run.summary["test_best"]) != main_name(runs[0].summary["test_best"]):
            raise RunError(f"{runs[0].path} and {run.path} have different metrics: report them separately")
        groups.setdefault(run.config.canonical(), []).append(run)
    plain = [_row(group) for group in groups.values()]
    rows = [replace(row, name=name) for row, name in zip(plain, _distinct_names(plain), strict=True)]
    if baseline is not None:
        base = _named(baseline, plain, rows)
    else:
        alone = [number for number, group in enumerate(groups.values()) if not group[0].has_teacher]
        base = alone[0] if len(alone) == 1 else 0
    return _with_gains(rows, base) if len(rows) > 1 else rows


def mean_and_sd(values: Sequence[float]) -> str:
    """Return ``"76.40 +- 0.20"``; a single value has no deviation.

    Example:
        >>> mean_and_sd([76.0, 77.0]), mean_and_sd([76.0])
        ('76.50 +- 0.71', '76.00')
    """
    sd = sample_sd(values)
    return f"{mean(values):.2f}" + (f" +- {sd:.2f}" if sd is not None else "")


def sample_sd(values: Sequence[float]) -> float | None:
    """Return the sample standard deviation; None for a single value."""
    return stdev(values) if len(values) > 1 else None


def _row(group: Sequence[FinishedRun]) -> RunsRow:
    ordered = sorted(group, key=lambda run: run.seed)
    for one, other in pairwise(ordered):
        if one.seed == other.seed:
            raise RunError(
                f"{one.path} and {other.path} are runs of one config with the same seed {one.seed}, so they "
                "are not independent: name only one of them"
            )
    first = ordered[0]
    teacher = first.summary.get("teacher")
    best: list[dict[str, float]] = [run.summary["test_best"] for run in ordered]
    return RunsRow(
        name=Path(first.info["config"]).name,
        seeds=tuple(run.seed for run in ordered),
        best=tuple(main_score(result) for result in best),
        last=tuple(main_score(run.summary["test_last"]) for run in ordered),
        teacher=None if teacher is None else main_score(teacher),
        reported=first.info.get("reported", ""),
        folders=tuple(str(run.path) for run in ordered),
        metric=SCORES[main_name(best[0])],
        nll=_all_or_none([result.get("nll") for result in best]),
        ece=_all_or_none([result.get("ece") for result in best]),
        seconds=_all_or_none([run.summary.get("seconds") for run in ordered]),
    )


def _all_or_none(values: Sequence[Any]) -> tuple[float, ...] | None:
    return None if None in values else tuple(values)


def _distinct_names(rows: Sequence[RunsRow]) -> list[str]:
    """Return the names of the rows; equal ones get the folder of the runs."""
    names = [row.name for row in rows]
    folders: list[Callable[[RunsRow], str]] = [_folder, lambda row: row.folders[0]]
    for folder in folders:
        names = [
            f"{row.name} ({folder(row)})" if names.count(name) > 1 else name
            for row, name in zip(rows, names, strict=True)
        ]
    return names


def _folder(row: RunsRow) -> str:
    parents = {str(Path(folder).parent) for folder in row.folders}
    return parents.pop() if len(row.folders) > 1 and len(parents) == 1 else row.folders[0]


def _named(baseline: str, plain: Sequence[RunsRow], rows: Sequence[RunsRow]) -> int:
    """Return the number of the row that ``--baseline`` names."""
    names = [(row.name, Path(one.name).stem, one.name) for one, row in zip(plain, rows, strict=True)]
    found = [number for number, known in enumerate(names) if baseline in known]
    if not found:
        known = [row.name if "." in baseline else Path(row.name).stem for row in plain]
        raise unknown_name("row", baseline, known, where="--baseline")
    if len(found) > 1:
        raise ValueError(
            f"--baseline {baseline} names {len(found)} rows; write one of: "
            + ", ".join(repr(rows[number].name) for number in found)
        )
    return found[0]


def _with_gains(rows: Sequence[RunsRow], base: int) -> list[RunsRow]:
    by_seed = [dict(zip(row.seeds, row.best, strict=True)) for row in rows]
    return [
        replace(row, is_baseline=True)
        if number == base
        else replace(row, gain=paired_gain(by_seed[number], by_seed[base]))
        for number, row in enumerate(rows)
    ]
