"""A table of finished runs: best and last accuracy, mean and standard deviation over seeds, reported results."""

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
        name: name of the config file.
        seeds: seeds of the runs, sorted.
        best: test score (top-1 or mAP) in percent of the epoch selected by validation, one per seed.
        last: test score after the last epoch, one per seed.
        teacher: score of the teacher, or None.
        reported: the paper's result, as given in the config; may be empty.
        folders: folders of the runs.
    """

    name: str
    seeds: tuple[int, ...]
    best: tuple[float, ...]
    last: tuple[float, ...]
    teacher: float | None
    reported: str
    folders: tuple[str, ...]


def finished_runs(folders: Sequence[str | Path]) -> list[FinishedRun]:
    """Return the finished runs in folders; a folder may be a run or contain runs, one per seed.

    Raises:
        RunError: if a folder has no run or an unfinished one.
    """
    found: dict[Path, FinishedRun] = {}
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise RunError(f"{folder} does not exist; name run folders, such as runs/lskd or runs/lskd/seed0")
        inside = [folder] if (folder / CONFIG).is_file() else sorted(p.parent for p in folder.glob(f"*/{CONFIG}"))
        if not inside:
            raise RunError(f"{folder} holds no run (neither it nor a subfolder has {CONFIG}); name a run folder")
        for path in inside:
            if not (path / SUMMARY).is_file():
                raise RunError(f"the run in {path} is not finished: continue it with `kd-plugins train ... --resume`")
            config = held_config(path)
            info, summary = (read_sealed_json(path / name) for name in (INFO, SUMMARY))
            found[path.resolve()] = FinishedRun(path, config, info, summary)
    return list(found.values())


def tabulate(runs: Sequence[FinishedRun]) -> list[RunsRow]:
    """Return one row per config, which combines the runs of its seeds.

    Raises:
        RunError: if schedules differ, a run was not tested, or two runs have the same config and seed.
    """
    if not runs:
        raise RunError("there are no runs to report; name at least one run folder")
    _refuse_mixed_schedules(runs)
    groups: dict[str, list[FinishedRun]] = {}
    for run in runs:
        if run.summary["test_best"] is None:
            raise RunError(f"the run in {run.path} was not tested: its config has no test.test_data_loader")
        if main_name(run.summary["test_best"]) != main_name(runs[0].summary["test_best"]):
            raise RunError(f"{runs[0].path} and {run.path} have different metrics: report them separately")
        groups.setdefault(run.config.canonical(), []).append(run)
    return [_row(group) for group in groups.values()]


def markdown(rows: Sequence[RunsRow]) -> str:
    """Return the table as Markdown, with a note that explains the numbers.

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
        "Top-1 (mAP with metric: multilabel) on the test set, mean +- sample standard deviation over seeds. Best: the",
        "epoch with the best validation score, which is selected on the test set if the config validates on it. Last:",
        "the last epoch.",
        f"Seeds: {seeds}.",
    ]
    return "\n".join([*table, *notes]) + "\n"


def as_json(rows: Sequence[RunsRow]) -> str:
    """Return the rows as JSON, with mean and standard deviation (null with one seed)."""
    filled = [
        {
            **asdict(row),
            "best_mean": mean(row.best),
            "last_mean": mean(row.last),
            "best_sd": _sd(row.best),
            "last_sd": _sd(row.last),
        }
        for row in rows
    ]
    return json.dumps(filled, indent=2) + "\n"


def mean_and_sd(values: Sequence[float]) -> str:
    """Return ``"76.40 +- 0.20"``; a single value has no deviation.

    Example:
        >>> mean_and_sd([76.0, 77.0]), mean_and_sd([76.0])
        ('76.50 +- 0.71', '76.00')
    """
    sd = _sd(values)
    return f"{mean(values):.2f}" + (f" +- {sd:.2f}" if sd is not None else "")


def _row(group: Sequence[FinishedRun]) -> RunsRow:
    ordered = sorted(group, key=lambda run: run.info["seed"])
    for one, other in pairwise(ordered):
        if one.info["seed"] == other.info["seed"]:
            raise RunError(
                f"{one.path} and {other.path} are runs of one config with the same seed {one.info['seed']}, so they "
                "are not independent: name only one of them"
            )
    first = ordered[0]
    teacher = first.summary.get("teacher")
    return RunsRow(
        name=Path(first.info["config"]).name,
        seeds=tuple(run.info["seed"] for run in ordered),
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
                f"{first.path} and {run.path} have different schedules: {path} is {one} in the first, {other} in the "
                "second. One table would compare schedules, not methods: report them separately"
            )


def _sd(values: Sequence[float]) -> float | None:
    return stdev(values) if len(values) > 1 else None
