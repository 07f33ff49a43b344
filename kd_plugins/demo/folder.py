"""The folder of a demo: its configs, which must not change, and its runs, which are reused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..config.config import parse_config
from ..runtime.checkpoint import LAST, write_text
from ..runtime.checksums import read_sealed_json
from ..runtime.run_names import INFO, SUMMARY
from ..training.train import train

CONFIGS, TABLE, RESULTS = "configs", "table.md", "results.json"


def write_configs(folder: Path, texts: Mapping[str, str], *, sign: str, demo: str = "demo") -> None:
    """Write the configs; refuse a folder with other contents without changing it.

    ``sign`` is the name of a config that every such demo has; ``demo`` names the demo in messages.
    """
    configs = folder / CONFIGS
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--run-dir {folder} is a file; name a folder")
    if folder.is_dir() and any(folder.iterdir()) and not (configs / f"{sign}.yaml").is_file():
        raise ValueError(f"--run-dir {folder} holds other files and no {demo}; name an empty or new folder")
    for name, text in texts.items():
        path = configs / f"{name}.yaml"
        if path.is_file() and _held_differs(path, text):
            raise ValueError(
                f"--run-dir {folder} holds another demo ({CONFIGS}/{name}.yaml differs from this one's); nothing was "
                "changed; name another folder"
            )
    for name, text in texts.items():
        (configs / name).parent.mkdir(parents=True, exist_ok=True)
        write_text(configs / f"{name}.yaml", text)


def _held_differs(path: Path, text: str) -> bool:
    """Tell whether a file holds another config, comments aside."""
    return parse_config(path.read_text(encoding="utf-8"), path).canonical() != parse_config(text, path).canonical()


def write_results(folder: Path, table: str, results: Mapping[str, Any]) -> dict[str, Any]:
    """Write table and results; return the latter as JSON holds them."""
    text = json.dumps(results, indent=2) + "\n"
    write_text(folder / TABLE, table)
    write_text(folder / RESULTS, text)
    return json.loads(text)


def train_runs(
    folder: Path, runs: Sequence[tuple[str, int]], *, device: str, options: Callable[[str], Mapping[str, Any]]
) -> dict[tuple[str, int], dict[str, Any]]:
    """Train all runs, (name, seed), and return their summaries; ``options`` are those of :func:`train_run` by name."""
    summaries = {}
    with tqdm(runs, desc="runs", unit="run", disable=None) as bar:
        for name, seed in bar:
            bar.set_postfix_str(f"{name}, seed {seed}")
            summaries[name, seed] = train_run(folder, name, seed, device=device, **options(name))
    return summaries


def train_run(
    folder: Path, name: str, seed: int, *, score: str, metric: str = "top1", title: str = "", **options: Any
) -> dict[str, Any]:
    """Train a run, continue it or take the finished one; print a line and return its summary.

    The line has the ``title`` (by default the name) and the entry ``score`` of the summary, ``test_best`` or
    ``test_last``, of which ``metric`` is the value. ``options`` go to :func:`~kd_plugins.training.train.train`.
    """
    run = folder / name / f"seed{seed}"
    reused, resume = (run / SUMMARY).is_file(), (run / LAST).is_file()
    summary = train(folder / CONFIGS / f"{name}.yaml", run_dir=run, resume=resume, seed=seed, **options)
    end = "from an earlier call" if reused else f"{summary['seconds']:.1f} s"
    tqdm.write(f"{title or name:<20}  seed {seed}  {summary[score][metric]:6.2f} %  {end}")
    return summary


def threads_of(folder: Path, runs: Iterable[tuple[str, int]]) -> list[int]:
    """Return the distinct numbers of CPU threads of the runs."""
    infos = (read_sealed_json(folder / name / f"seed{seed}" / INFO) for name, seed in runs)
    return sorted({info["environment"]["threads"] for info in infos})


def check_seeds(seeds: Sequence[int]) -> None:
    """Raise ``ValueError`` unless ``seeds`` are different whole numbers, at least one."""
    whole = all(isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0 for seed in seeds)
    if not seeds or not whole or len(set(seeds)) != len(seeds):
        raise ValueError(f"seeds must be different whole numbers of at least 0, found {list(seeds)!r}")


def check_teachers(summaries: Iterable[Mapping[str, Any]]) -> None:
    """Refuse to compare students of different teachers, as after the teacher was trained again."""
    weights = {summary["teacher"]["weights"] for summary in summaries if summary["teacher"] is not None}
    if len(weights) > 1:
        raise ValueError(
            "the students of this demo learned from different teachers; remove the folders of the older ones, or name "
            "another --run-dir"
        )
