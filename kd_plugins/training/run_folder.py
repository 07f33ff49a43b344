"""The run folder: config, environment, metrics and summary of a run."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..config.config import Config, parse_config
from ..runtime.checkpoint import BEST, LAST, PREVIOUS, write_text
from ..runtime.checksums import DamagedFileError, read_sealed_json, sealed_json, text_checksum
from ..runtime.environment import changes
from ..runtime.ownership import LOCK, TEMPORARY
from ..runtime.run_names import CONFIG, EPOCH_WEIGHTS, EVENTS, INFO, METRICS, STATISTICS, SUMMARY
from .identity import differences, may_change

logger = logging.getLogger(__name__)


class RunError(ValueError):
    """The run folder cannot be used as requested; the message says what to do."""


@dataclass(frozen=True)
class Options:
    """Options that must not change for an exact resume."""

    seed: int
    amp: str
    world_size: int
    channels_last: bool = False
    compile: bool = False


class RunFolder:
    """Owns all files of a run. Training writes no others, but for the teacher's scores beside the folder."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def check(
        self, config: Config, options: Options, *, resume: bool, now: Mapping[str, Any], accept_changes: bool = False
    ) -> None:
        """Check that the folder is free, or holds this run and is to be resumed; write nothing.

        ``now`` is the environment, see :func:`~kd_plugins.runtime.environment.environment`; with ``accept_changes``, it
        may differ from that at the start of the run.

        Raises:
            RunError: if the folder holds something else, or holds this run and ``resume`` is off.
            DamagedFileError: if a file of the run is damaged.
        """
        self.refuse_a_file()
        if not self._is_claimed():
            # Statistics are fitted before training, so complete or partial files may exist.
            if self.path.is_dir() and not all(map(_is_of_a_run, self.path.iterdir())):
                raise RunError(f"--run-dir {self.path} holds other files but no run; name an empty or new folder")
            if resume:
                raise RunError(f"--resume: {self.path} holds no run to resume; run without --resume to start one")
            return
        differ = differences(held_config(self.path), config)
        for path, before, after in differ:
            if not may_change(path):
                raise RunError(
                    f"--run-dir {self.path} holds a run of another config ({'.'.join(path)} is {before} there, {after} "
                    "here). Nothing was changed; name another folder"
                )
        if not resume:
            raise RunError(
                f"--run-dir {self.path} already holds a run of this config; add --resume to continue it, or name "
                "another folder"
            )
        for path, before, after in differ:
            logger.warning("%s is resumed with %s: %s (was %s)", self.path, ".".join(path), after, before)
        info = read_sealed_json(self.path / INFO)
        # Older versions did not record every option; they had its default.
        started = {**asdict(Options(seed=0, amp="no", world_size=1)), **info}
        shown = changes({name: started[name] for name in asdict(options)}, asdict(options))
        if shown:
            raise RunError(
                f"{self.path} was started with {shown}; resume it with the same --seed, --amp, --channels-last, "
                "--compile and number of processes"
            )
        # A finished run does not train any more, so its environment does not matter.
        shown = "" if (self.path / SUMMARY).is_file() else changes(info["environment"], now)
        if shown and not accept_changes:
            raise RunError(
                f"{self.path} was started with {shown}, so resuming would not be exact. Restore these settings, or add "
                "--accept-changes"
            )
        if shown:
            logger.warning("%s is resumed in another environment: %s", self.path, shown)

    def refuse_a_file(self) -> None:
        """Raise :class:`RunError` when the folder's path is a file."""
        if self.path.exists() and not self.path.is_dir():
            raise RunError(f"--run-dir {self.path} is a file; name a folder")

    def claim(self, config: Config, options: Options, now: Mapping[str, Any]) -> None:
        """Write config and run information to the folder, unless the run already did."""
        if self._is_claimed():
            return
        info = {**asdict(options), "config": str(config.path), "reported": config.reported, "environment": dict(now)}
        self.write_json(INFO, {**info, "config_checksum": text_checksum(config.text)})
        self._write(CONFIG, config.text)

    def _is_claimed(self) -> bool:
        return any((self.path / name).is_file() for name in (LAST, SUMMARY))

    def _write(self, name: str, text: str) -> None:
        write_text(self.path / name, text)

    def write_json(self, name: str, value: Any) -> None:
        """Write one JSON file."""
        self._write(name, sealed_json(value))

    def append_metrics(self, line: dict[str, Any]) -> None:
        """Add an epoch's line to ``metrics.jsonl``."""
        with (self.path / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def write_metrics(self, history: Sequence[dict[str, Any]]) -> None:
        """Rewrite ``metrics.jsonl`` from the history in the checkpoint of a resumed run."""
        self._write(METRICS, "".join(json.dumps(line) + "\n" for line in history))

    def summary(self) -> dict[str, Any] | None:
        """Return the summary of a finished run, else None."""
        file = self.path / SUMMARY
        return read_sealed_json(file) if file.is_file() else None


def held_config(folder: Path) -> Config:
    """Return the config of the run in a folder, after checking its checksum.

    Raises:
        DamagedFileError: if the file or ``run.json`` is missing or damaged.
    """
    file = folder / CONFIG
    for needed in (file, folder / INFO):
        if not needed.is_file():
            raise DamagedFileError(
                f"{needed} is missing, so the run in {folder} is incomplete; restore it, or start over"
            )
    text = file.read_text(encoding="utf-8", errors="replace")
    if text_checksum(text) != read_sealed_json(folder / INFO)["config_checksum"]:
        raise DamagedFileError(f"{file} is damaged, or was edited after the run started; restore the original")
    return parse_config(text, file)


def _is_of_a_run(file: Path) -> bool:
    names = (CONFIG, INFO, METRICS, SUMMARY, LAST, PREVIOUS, BEST, LOCK)
    patterns = (TEMPORARY, EVENTS, EPOCH_WEIGHTS.format("*"))
    return file.name in names or STATISTICS in file.name or any(map(file.match, patterns))
