"""Train one config with several seeds, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..config.config import read_config
from ..runtime.checkpoint import LAST, write_text
from ..runtime.distributed import processes
from ..training.run_folder import RunError
from ..training.train import train
from .formats import as_json, markdown
from .runs import finished_runs
from .runs_table import RunsRow, tabulate

TABLE, TABLE_JSON = "summary.md", "summary.json"


def train_seeds(
    config_path: str | Path,
    seeds: Sequence[int],
    *,
    run_dir: str | Path | None = None,
    device: str = "auto",
    overrides: Sequence[str] = (),
    note: Callable[[str], None] = lambda _text: None,
    **options: Any,
) -> list[RunsRow]:
    """Train a config with every seed and write one table, whose single row is returned; finished runs are kept.

    After an interruption, the same call continues, also within a run.

    Args:
        config_path: the YAML file.
        seeds: distinct whole numbers.
        run_dir: parent of the run folders ``seed<N>``; ``runs/<config>`` by default.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        overrides: ``KEY.PATH=VALUE`` strings that replace parts of the config.
        note: called with a line of text before each run.
        options: others of :func:`~kd_plugins.training.train.train`, for every seed.

    Raises:
        ValueError: for any mistake in the config, the folder or the data.
    """
    if not seeds or len(set(seeds)) != len(seeds):
        raise ValueError(f"--seeds must be distinct whole numbers, such as 0,1,2, found {list(seeds)!r}")
    config = read_config(config_path, overrides)
    top = Path(run_dir) if run_dir is not None else Path("runs") / config.path.stem
    if (top / "config.yaml").is_file():
        raise RunError(f"--run-dir {top} is the folder of one run; with --seeds name a folder for all of them")
    folders = [top / f"seed{seed}" for seed in seeds]
    # One process group for all runs: a second group would find the store of the first at the same address.
    with processes(device) as procs:
        for number, (seed, folder) in enumerate(zip(seeds, folders, strict=True)):
            resume = bool(procs.from_main((folder / LAST).exists() if procs.is_main else None))
            if procs.is_main:
                note(f"seed {seed} ({number + 1} of {len(seeds)}){', resumed' if resume else ''}: {folder}")
            train(config_path, run_dir=folder, resume=resume, seed=seed, device=device, overrides=overrides, **options)
        rows: Any = None
        if procs.is_main:
            rows = tabulate(finished_runs(folders))
            for name, text in ((TABLE, markdown(rows)), (TABLE_JSON, as_json(rows))):
                write_text(top / name, text)
        return procs.from_main(rows)
