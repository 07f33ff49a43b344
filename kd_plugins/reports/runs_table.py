"""One table over finished runs: best and last accuracy, mean and standard deviation over seeds, what was reported."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from .._tables import escaped, markdown_table
from ..config.config import Config
from ..runtime.checksums import read_sealed_json
from ..runtime.metrics import main_name, main_score
from ..runtime.run_names import CONFIG, INFO, SUMMARY
from ..training.run_folder import RunError, held_config
from .schedule import first_difference, schedule_of


@dataclass(frozen=True)
class FinishedRun:
    """A run folder with a summary."""

    path: Path
    config: Config
    info: Mapping[str, Any]
    summary: Mapping[str, Any]


@dataclass(frozen=True)
class RunsRow:
    """All runs of one config.

    Attributes:
        name: of the config's file.
        seeds: of the runs, in order.
        best: score (top-1 or mAP) in percent on the test set of the epoch that validation chose, one a seed.
        last: the same after the last epoch.
        teacher: score of the teacher, None without one.
        reported: what the config says that the paper reports, ``""`` where it says nothing.
        folders: of the runs.
    """

    name: str
    seeds: tuple[int, ...]
    best: tuple[float, ...]
    last: tuple[float, ...]
    teacher: float | None
    reported: str
    folders: tuple[str, ...]


def finished_runs(folders: Sequence[str | Path]) -> list[FinishedRun]:
    """Return the finished runs in folders; a folder may also hold runs, one a seed.

    Raises:
        RunError: when a folder holds no run, or one that is not finished.
    """
    found: dict[Path, FinishedRun] = {}
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise RunError(f"{folder} does not exist; name run folders, such as runs/lskd or runs/lskd/seed0")
        inside = [folder] if (folder / CONFIG).is_file() else sorted(p.parent for p in folder.glob(f"*/{CONFIG}"))
        if not inside:
            raise RunError(f"{folder} holds no run (no {CONFIG}, nor a folder with one); name the folder of a training")
        for path in inside:
            if not (path / SUMMARY).is_file():
                raise RunError(f"the run in {path} is not finished: go on with it by `kd-plugins train ... --resume`")
            config = held_config(path)
            info, summary = (read_sealed_json(path / name) for name in (INFO, SUMMARY))
            found[path.resolve()] = FinishedRun(path, config, info, summary)
    return list(found.values())


def tabulate(runs: Sequence[FinishedRun]) -> list[RunsRow]:
    """Return one row a config, with the runs of its seeds together.

    Raises:
        RunError: when runs were not trained alike, one was not tested, or two are of one config and seed.
    """
    if not runs:
        raise RunError("there is no run to report; name at least one run folder")
    _refuse_mixed_schedules(runs)
    groups: dict[str, list[FinishedRun]] = {}
    for run in runs:
        if run.summary["test_best"] is None:
            raise RunError(f"the run in {run.path} was not tested: its config has no test.test_data_loader")
        if main_name(run.summary["test_best"]) != main_name(runs[0].summary["test_best"]):
            raise RunError(f"{runs[0].path} and {run.path} were measured by different metrics: report them apart")
        groups.setdefault(run.config.canonical(), []).append(run)
    return [_row(group) for group in groups.values()]


def markdown(rows: Sequence[RunsRow]) -> str:
    """Return the table as Markdown, with a note on what the numbers are.

    Example:
        >>> row = RunsRow("kd.yaml", (0, 1), (76.0, 77.0), (75.5, 76.5), 79.42, "76.66 (LSKD, Table 1)", ("a", "b"))
        >>> print(markdown([row]).splitlines()[2])
        | kd.yaml |  2 | 76.50 +- 0.71 | 76.00 +- 0.71 |   79.42 | 76.66 (LSKD, Table 1) |
    """
    heads = ("config", "n", "best, %", "last, %", "teacher", "reported")
    cells = [
        (
            row.name,
            str(len(row.seeds)),
            mean_and_sd(row.best),
            mean_and_sd(row.last),
            "-" if row.teacher is None else f"{row.teacher:.2f}",
            row.reported or "-",
        )
        for row in rows
    ]
    table = markdown_table(heads, cells, left=(0, len(heads) - 1))
    seeds = "; ".join(f"{escaped(row.name)}: {', '.join(map(str, row.seeds))}" for row in rows)
    notes = [
        "",
        "Top-1 (mAP with metric: multilabel) on the test set, mean +- sample standard deviation over seeds. Best: of",
        "the epoch that was best in validation, which selects on the test set where a config validates on it; last:",
        "after the last epoch.",
        f"Seeds: {seeds}.",
    ]
    return "\n".join([*table, *notes]) + "\n"


def as_json(rows: Sequence[RunsRow]) -> str:
    """Return the rows as JSON, with mean and standard deviation (null with one seed)."""
    filled = [
        {
            **asdict(row),
            **{f"{name}_mean": mean(values) for name, values in (("best", row.best), ("last", row.last))},
            **{f"{name}_sd": _sd(values) for name, values in (("best", row.best), ("last", row.last))},
        }
        for row in rows
    ]
    return json.dumps(filled, indent=2) + "\n"


def mean_and_sd(values: Sequence[float]) -> str:
    """Return ``"76.40 +- 0.20"``; one value stands alone.

    Example:
        >>> mean_and_sd([76.0, 77.0]), mean_and_sd([76.0])
        ('76.50 +- 0.71', '76.00')
    """
    sd = _sd(values)
    return f"{mean(values):.2f}" + (f" +- {sd:.2f}" if sd is not None else "")


def _row(group: Sequence[FinishedRun]) -> RunsRow:
    ordered = sorted(group, key=lambda run: run.info["seed"])
    seeds = tuple(run.info["seed"] for run in ordered)
    for one, other in pairwise(ordered):
        if one.info["seed"] == other.info["seed"]:
            raise RunError(
                f"{one.path} and {other.path} are runs of one config with the same seed {one.info['seed']}; they are "
                "no two samples: name one of them"
            )
    first = ordered[0]
    teacher = first.summary.get("teacher")
    return RunsRow(
        name=Path(first.info["config"]).name,
        seeds=seeds,
        best=tuple(main_score(run.summary["test_best"]) for run in ordered),
        last=tuple(main_score(run.summary["test_last"]) for run in ordered),
        teacher=None if teacher is None else main_score(teacher),
        reported=first.info.get("reported", ""),
        folders=tuple(str(run.path) for run in ordered),
    )


def _refuse_mixed_schedules(runs: Sequence[FinishedRun]) -> None:
    first, *rest = runs
    schedule = schedule_of(first.config, world_size=first.info["world_size"])
    for run in rest:
        found = first_difference(schedule, schedule_of(run.config, world_size=run.info["world_size"]))
        if found is not None:
            path, one, other = found
            raise RunError(
                f"{first.path} and {run.path} were not trained alike: {path} is {one} there and {other} here; a table "
                "over both would compare schedules, not methods. Report them apart"
            )


def _sd(values: Sequence[float]) -> float | None:
    return stdev(values) if len(values) > 1 else None
