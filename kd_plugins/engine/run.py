"""The folder of a run: what was asked, with which versions, what came out."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..statistics.versions import versions
from .checkpoint import LAST, write_atomically
from .config import Config, parse_config
from .identity import differences, may_change

logger = logging.getLogger(__name__)

CONFIG, INFO, METRICS, SUMMARY = "config.yaml", "run.json", "metrics.jsonl", "summary.json"
STATISTICS = "letkd_statistics.safetensors"


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

    def check(self, config: Config, options: Options, *, resume: bool) -> None:
        """Check that the folder is free, or that it is this run's and is to be resumed; nothing is written.

        Raises:
            RunError: when the folder holds something else, or a run of this config and ``resume`` is off.
        """
        if self.path.exists() and not self.path.is_dir():
            raise RunError(f"--run-dir {self.path} is a file; name a folder")
        held = self._held_config()
        if held is None:
            # Statistics come before the training, whole or, when interrupted, in part.
            if self.path.is_dir() and any(STATISTICS not in found.name for found in self.path.iterdir()):
                raise RunError(f"--run-dir {self.path} holds other files and no run; name an empty or new folder")
            if resume:
                raise RunError(f"--resume: {self.path} holds no run to resume; run without --resume to start one")
            return
        differ = differences(held, config)
        for path, before, now in differ:
            if not may_change(path):
                raise RunError(
                    f"--run-dir {self.path} holds a run of another config ({'.'.join(path)} is {before} there and "
                    f"{now} here); nothing was changed; name another folder"
                )
        if resume:
            for path, before, now in differ:
                logger.warning("%s goes on with %s: %s (it was %s)", self.path, ".".join(path), now, before)
        if not resume and (self.path / LAST).exists():
            raise RunError(
                f"--run-dir {self.path} already holds a run of this config; add --resume to go on with it, or "
                "name another folder"
            )
        found = Options(**{k: v for k, v in self._info().items() if k in Options.__dataclass_fields__})
        if found != options and (self.path / LAST).exists():
            pairs = zip(asdict(found).items(), asdict(options).values(), strict=True)
            shown = ", ".join(f"{key} {one} (now {other})" for (key, one), other in pairs if one != other)
            raise RunError(
                f"{self.path} was started with {shown}; a resumed run must be the same run: use the same "
                "--seed, --amp and number of processes"
            )

    def claim(self, config: Config, options: Options) -> None:
        """Make the folder this run's. A run that can be resumed has claimed it already."""
        if (self.path / LAST).exists():
            return
        self.path.mkdir(parents=True, exist_ok=True)
        info = {**asdict(options), "config": str(config.path), "reported": config.reported, "versions": versions()}
        self.write_json(INFO, info)
        # Written last: a folder with a config is a run.
        write_atomically(self.path / CONFIG, lambda path: path.write_text(config.text, encoding="utf-8"))

    def _held_config(self) -> Config | None:
        file = self.path / CONFIG
        return parse_config(file.read_text(encoding="utf-8"), file) if file.is_file() else None

    def _info(self) -> dict[str, Any]:
        return json.loads((self.path / INFO).read_text(encoding="utf-8"))

    def write_json(self, name: str, value: Any) -> None:
        """Write one JSON file."""
        text = json.dumps(value, indent=2) + "\n"
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
        return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def default_run_folder(config_path: Path, seed: int) -> Path:
    """Return ``runs/<config>/seed<N>``: the folder of a run that no ``--run-dir`` names."""
    return Path("runs") / config_path.stem / f"seed{seed}"
