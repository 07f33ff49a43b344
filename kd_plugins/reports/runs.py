"""Find finished runs in folders, and check that they can be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config.config import Config
from ..config.leaves import entries
from ..runtime.checksums import read_sealed_json
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

    @property
    def seed(self) -> int:
        """The seed of the run."""
        return int(self.info["seed"])

    @property
    def has_teacher(self) -> bool:
        """Whether the student learned from a teacher."""
        return "teacher_model" in entries(entries(self.config.root).get("models"))


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


def refuse_mixed_schedules(runs: Sequence[FinishedRun]) -> None:
    """Raise :class:`RunError` unless all runs have the same schedule."""
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
