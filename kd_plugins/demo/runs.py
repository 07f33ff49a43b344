"""Run the demo: a teacher, then every method with every seed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..config.config import parse_config
from ..runtime.checkpoint import LAST, write_atomically
from ..runtime.checksums import read_sealed_json
from ..runtime.run_names import INFO, SUMMARY
from ..training.train import train
from .configs import TEACHER, Schedule, student_config, teacher_config
from .methods import NO_TRANSFORM, Variant, variants
from .plot import save_plot
from .table import collect, markdown

CONFIGS = "configs"
TABLE, RESULTS, PLOT = "table.md", "results.json", "plot.png"
TEACHER_SEED = 0


@dataclass(frozen=True)
class Run:
    """One training: what the student learns by (None for the teacher), and the seed."""

    variant: Variant | None
    seed: int

    @property
    def name(self) -> str:
        """Name of its config and folder."""
        return TEACHER if self.variant is None else self.variant.key


def run_demo(
    run_dir: str | Path = "runs/demo",
    *,
    methods: Sequence[str] = ("kd", "lskd", "ckd"),
    transforms: Sequence[str] = (NO_TRANSFORM,),
    seeds: Sequence[int] = (0, 1, 2),
    device: str = "cpu",
    schedule: Schedule | None = None,
) -> dict[str, Any]:
    """Distil a ViT into a small CNN on real digits; print a table, and save it with a plot.

    Finished runs in ``run_dir`` are reused, an unfinished one goes on.

    Args:
        run_dir: folder for everything written.
        methods: what to compare with cross-entropy alone, which is always run.
        transforms: what to put before each of the methods, one after the other.
        seeds: of the students, all different.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        schedule: how long to train.

    Returns:
        What ``results.json`` holds.

    Raises:
        ValueError: on an unknown method or transform, seeds that are none, or a folder that holds something else.
    """
    chosen = variants(methods, transforms)
    check_seeds(seeds)
    folder = Path(run_dir).resolve()
    checkpoint = folder / TEACHER / f"seed{TEACHER_SEED}" / "best.pt"
    texts = {TEACHER: teacher_config(schedule)}
    for variant in chosen:
        texts[variant.key] = student_config(variant, teacher_checkpoint=checkpoint, schedule=schedule)
    _write_configs(folder, texts)
    runs = [Run(None, TEACHER_SEED), *(Run(variant, seed) for variant in chosen for seed in seeds)]
    summaries: dict[Run, dict[str, Any]] = {}
    with tqdm(runs, desc="runs", unit="run", disable=None) as bar:
        for run in bar:
            bar.set_postfix_str(f"{run.name}, seed {run.seed}")
            summaries[run] = _train(folder, run, device)
    students = {variant: [summaries[Run(variant, seed)] for seed in seeds] for variant in chosen}
    _check_teachers(summary for runs_of in students.values() for summary in runs_of)
    threads = [read_sealed_json(_folder(folder, run) / INFO)["environment"]["threads"] for run in runs]
    results = collect(summaries[runs[0]], students, seeds, threads=threads)
    table, found = markdown(results), results.as_dict()
    text = json.dumps(found, indent=2) + "\n"
    _write_text(folder / TABLE, table)
    _write_text(folder / RESULTS, text)
    save_plot(results, folder / PLOT)
    print(f"\n{table}\ntable, numbers and plot: {', '.join(str(Path(run_dir) / n) for n in (TABLE, RESULTS, PLOT))}")
    return json.loads(text)


def check_seeds(seeds: Sequence[int]) -> None:
    """Raise ``ValueError`` unless ``seeds`` are different whole numbers, at least one."""
    whole = all(isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0 for seed in seeds)
    if not seeds or not whole or len(set(seeds)) != len(seeds):
        raise ValueError(f"seeds must be different whole numbers of at least 0, found {list(seeds)!r}")


def _write_configs(folder: Path, texts: dict[str, str]) -> None:
    """Write the configs, unless the folder holds something else; then nothing is touched."""
    configs = folder / CONFIGS
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--run-dir {folder} is a file; name a folder")
    if folder.is_dir() and any(folder.iterdir()) and not (configs / f"{TEACHER}.yaml").is_file():
        raise ValueError(f"--run-dir {folder} holds other files and no demo; name an empty or new folder")
    for name, text in texts.items():
        path = configs / f"{name}.yaml"
        if path.is_file() and _held_differs(path, text):
            raise ValueError(
                f"--run-dir {folder} holds another demo ({CONFIGS}/{name}.yaml differs from this one's); nothing was "
                "changed; name another folder"
            )
    configs.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        _write_text(configs / f"{name}.yaml", text)


def _held_differs(path: Path, text: str) -> bool:
    """Tell whether a file holds another config; comments do not count."""
    return parse_config(path.read_text(encoding="utf-8"), path).canonical() != parse_config(text, path).canonical()


def _write_text(file: Path, text: str) -> None:
    write_atomically(file, lambda path: path.write_text(text, encoding="utf-8"))


def _folder(folder: Path, run: Run) -> Path:
    return folder / run.name / f"seed{run.seed}"


def _train(folder: Path, run: Run, device: str) -> dict[str, Any]:
    run_folder = _folder(folder, run)
    reused = (run_folder / SUMMARY).is_file()
    summary = train(
        folder / CONFIGS / f"{run.name}.yaml",
        run_dir=run_folder,
        resume=(run_folder / LAST).is_file(),
        seed=run.seed,
        device=device,
    )
    title = "teacher" if run.variant is None else run.variant.title
    top1 = summary["test_best" if run.variant is None else "test_last"]["top1"]
    end = "from an earlier call" if reused else f"{summary['seconds']:.1f} s"
    tqdm.write(f"{title:<20}  seed {run.seed}  {top1:6.2f} %  {end}")
    return summary


def _check_teachers(summaries: Iterable[dict[str, Any]]) -> None:
    """Refuse a comparison of students that had different teachers, as after a teacher was trained anew."""
    weights = {summary["teacher"]["weights"] for summary in summaries if summary["teacher"] is not None}
    if len(weights) > 1:
        raise ValueError(
            "the students of this demo learned from different teachers; remove the folders of the older ones, or name "
            "another --run-dir"
        )
