"""The folder of a run: what was asked, with which versions, what came out."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..config.config import Config, parse_config
from ..runtime.checkpoint import BEST, LAST, PREVIOUS, write_atomically
from ..runtime.checksums import DamagedFileError, read_sealed_json, sealed_json, text_checksum
from ..runtime.environment import changes
from ..runtime.ownership import LOCK, TEMPORARY
from ..runtime.run_names import CONFIG, INFO, METRICS, STATISTICS, SUMMARY
from .identity import differences, may_change

logger = logging.getLogger(__name__)


class RunError(ValueError):
    """The run folder and what is asked do not go together; the message says what to do."""


@dataclass(frozen=True)
class Options:
    """What must stay the same for a resumed run to equal the uninterrupted one."""

    seed: int
    amp: str
    world_size: int


class RunFolder:
    """Owns every file of a run; nothing else is written by a training.

    Args:
        path: the folder; made when needed.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def check(
        self,
        config: Config,
        options: Options,
        *,
        resume: bool,
        now: Mapping[str, Any],
        accept_changes: bool = False,
    ) -> None:
        """Check that the folder is free, or that it is this run's and is to be resumed; nothing is written.

        Args:
            config: what is asked.
            options: likewise.
            resume: whether the folder's run is to go on.
            now: the environment, see :func:`~kd_plugins.runtime.environment.environment`.
            accept_changes: whether it may be another than the run began in.

        Raises:
            RunError: when the folder holds something else, or a run of this config and ``resume`` is off.
            DamagedFileError: when one of its files is damaged.
        """
        self.refuse_a_file()
        if not self._is_claimed():
            # Statistics come before the training, whole or, when interrupted, in part.
            if self.path.is_dir() and not all(map(_is_of_a_run, self.path.iterdir())):
                raise RunError(f"--run-dir {self.path} holds other files and no run; name an empty or new folder")
            if resume:
                raise RunError(f"--resume: {self.path} holds no run to resume; run without --resume to start one")
            return
        held = self._held_config()
        differ = differences(held, config)
        for path, before, after in differ:
            if not may_change(path):
                raise RunError(
                    f"--run-dir {self.path} holds a run of another config ({'.'.join(path)} is {before} there and "
                    f"{after} here); nothing was changed; name another folder"
                )
        if resume:
            for path, before, after in differ:
                logger.warning("%s goes on with %s: %s (it was %s)", self.path, ".".join(path), after, before)
        if not resume:
            raise RunError(
                f"--run-dir {self.path} already holds a run of this config; add --resume to go on with it, or "
                "name another folder"
            )
        info = self._info()
        shown = changes({name: info[name] for name in asdict(options)}, asdict(options))
        if shown:
            raise RunError(
                f"{self.path} was started with {shown}; a resumed run must be the same run: use the same "
                "--seed, --amp and number of processes"
            )
        # A run that is finished does not go on.
        shown = "" if (self.path / SUMMARY).is_file() else changes(info["environment"], now)
        if shown and not accept_changes:
            raise RunError(
                f"{self.path} was started with {shown}, so a resumed run would not equal the uninterrupted one. Go on "
                "as it was started, or add --accept-changes"
            )
        if shown:
            logger.warning("%s goes on in another environment: %s", self.path, shown)

    def refuse_a_file(self) -> None:
        """Raise :class:`RunError` when the folder's path is a file."""
        if self.path.exists() and not self.path.is_dir():
            raise RunError(f"--run-dir {self.path} is a file; name a folder")

    def claim(self, config: Config, options: Options, now: Mapping[str, Any]) -> None:
        """Make the folder this run's. A run that can be resumed has claimed it already."""
        if self._is_claimed():
            return
        info = {**asdict(options), "config": str(config.path), "reported": config.reported, "environment": dict(now)}
        self.write_json(INFO, {**info, "config_checksum": text_checksum(config.text)})
        write_atomically(self.path / CONFIG, lambda path: path.write_text(config.text, encoding="utf-8"))

    def _is_claimed(self) -> bool:
        return any((self.path / name).is_file() for name in (LAST, SUMMARY))

    def _held_config(self) -> Config:
        return held_config(self.path)

    def _info(self) -> dict[str, Any]:
        return read_sealed_json(self.path / INFO)

    def write_json(self, name: str, value: Any) -> None:
        """Write one JSON file."""
        text = sealed_json(value)
        write_atomically(self.path / name, lambda path: path.write_text(text, encoding="utf-8"))

    def append_metrics(self, line: dict[str, Any]) -> None:
        """Add an epoch's line to ``metrics.jsonl``."""
        with (self.path / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def write_metrics(self, history: Sequence[dict[str, Any]]) -> None:
        """Write ``metrics.jsonl`` anew, as the checkpoint that a resumed run starts from knows it."""
        text = "".join(json.dumps(line) + "\n" for line in history)
        write_atomically(self.path / METRICS, lambda path: path.write_text(text, encoding="utf-8"))

    def summary(self) -> dict[str, Any] | None:
        """Return the summary of a finished run, else None."""
        file = self.path / SUMMARY
        return read_sealed_json(file) if file.is_file() else None


def held_config(folder: Path) -> Config:
    """Return the config of the run in a folder, after a look at its checksum.

    Raises:
        DamagedFileError: when the file, or ``run.json``, is missing or damaged.
    """
    file = folder / CONFIG
    for needed in (file, folder / INFO):
        if not needed.is_file():
            raise DamagedFileError(f"{needed} is missing, so {folder} is not a whole run; put it back, or start anew")
    text = file.read_text(encoding="utf-8", errors="replace")
    if text_checksum(text) != read_sealed_json(folder / INFO)["config_checksum"]:
        raise DamagedFileError(f"{file} is damaged, or was edited after the run began; put the original back")
    return parse_config(text, file)


def _is_of_a_run(file: Path) -> bool:
    names = (CONFIG, INFO, METRICS, SUMMARY, LAST, PREVIOUS, BEST, LOCK)
    return file.name in names or STATISTICS in file.name or file.match(TEMPORARY)
