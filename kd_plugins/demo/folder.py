"""The folder of a demo: its configs, which must not change, and its runs, which are reused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..config.config import parse_config
from ..runtime.checkpoint import LAST, write_atomically
from ..runtime.run_names import SUMMARY
from ..training.train import train

CONFIGS = "configs"


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


def write_text(file: Path, text: str) -> None:
    """Write a text file in one step."""
    write_atomically(file, lambda path: path.write_text(text, encoding="utf-8"))


def train_run(
    config: Path,
    run_folder: Path,
    *,
    seed: int,
    device: str,
    title: str,
    score: str,
    metric: str = "top1",
    **options: Any,
) -> dict[str, Any]:
    """Train a run, continue it or take the finished one; print a line and return its summary.

    ``score`` is the entry of the summary that the line shows, ``test_best`` or ``test_last``, and ``metric`` the value
    in it. ``options`` go to :func:`~kd_plugins.training.train.train`.
    """
    reused = (run_folder / SUMMARY).is_file()
    resume = (run_folder / LAST).is_file()
    summary = train(config, run_dir=run_folder, resume=resume, seed=seed, device=device, **options)
    end = "from an earlier call" if reused else f"{summary['seconds']:.1f} s"
    tqdm.write(f"{title:<20}  seed {seed}  {summary[score][metric]:6.2f} %  {end}")
    return summary


def check_teachers(summaries: Iterable[Mapping[str, Any]]) -> None:
    """Refuse to compare students of different teachers, as after the teacher was trained again."""
    weights = {summary["teacher"]["weights"] for summary in summaries if summary["teacher"] is not None}
    if len(weights) > 1:
        raise ValueError(
            "the students of this demo learned from different teachers; remove the folders of the older ones, or name "
            "another --run-dir"
        )
