"""Run the demo: train a teacher, then a student per method and seed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..config.config import parse_config
from ..runtime.checkpoint import LAST, write_atomically
from ..runtime.checksums import read_sealed_json
from ..runtime.run_names import INFO, SUMMARY
from ..training.train import train
from .configs import DEFAULT, TEACHER, Schedule, student_config, teacher_config
from .methods import NO_TRANSFORM, variants
from .plot import save_plot
from .table import collect, markdown

CONFIGS = "configs"
TABLE, RESULTS, PLOT = "table.md", "results.json", "plot.png"
TEACHER_SEED = 0


def run_demo(
    run_dir: str | Path = "runs/demo",
    *,
    methods: Sequence[str] = ("kd", "lskd", "ckd"),
    transforms: Sequence[str] = (NO_TRANSFORM,),
    seeds: Sequence[int] = (0, 1, 2),
    device: str = "cpu",
    schedule: Schedule = DEFAULT,
) -> dict[str, Any]:
    """Distil a ViT into a small CNN on real digits; print a table, and save it with a plot.

    Finished runs in ``run_dir`` are reused; an unfinished one continues.

    Args:
        run_dir: folder of all files.
        methods: methods to compare with cross-entropy alone, which is always run.
        transforms: transforms to combine with each method.
        seeds: distinct seeds of the students.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        schedule: numbers of epochs.

    Returns:
        The contents of ``results.json``.

    Raises:
        ValueError: on an unknown method or transform, invalid seeds, or a folder with other contents.
    """
    chosen = variants(methods, transforms)
    check_seeds(seeds)
    folder = Path(run_dir).resolve()
    checkpoint = folder / TEACHER / f"seed{TEACHER_SEED}" / "best.pt"
    texts = {TEACHER: teacher_config(schedule)}
    for variant in chosen:
        texts[variant.key] = student_config(variant, teacher_checkpoint=checkpoint, schedule=schedule)
    _write_configs(folder, texts)
    titles = {TEACHER: "teacher", **{variant.key: variant.title for variant in chosen}}
    runs = [(TEACHER, TEACHER_SEED), *((variant.key, seed) for variant in chosen for seed in seeds)]
    summaries: dict[tuple[str, int], dict[str, Any]] = {}
    with tqdm(runs, desc="runs", unit="run", disable=None) as bar:
        for name, seed in bar:
            bar.set_postfix_str(f"{name}, seed {seed}")
            summaries[name, seed] = _train(folder, name, seed, device, titles[name])
    students = {variant: [summaries[variant.key, seed] for seed in seeds] for variant in chosen}
    _check_teachers(summary for runs_of in students.values() for summary in runs_of)
    threads = [read_sealed_json(folder / name / f"seed{seed}" / INFO)["environment"]["threads"] for name, seed in runs]
    results = collect(summaries[TEACHER, TEACHER_SEED], students, seeds, threads=threads)
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
    """Write the configs; refuse a folder with other contents without changing it."""
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
    """Tell whether a file holds another config, comments aside."""
    return parse_config(path.read_text(encoding="utf-8"), path).canonical() != parse_config(text, path).canonical()


def _write_text(file: Path, text: str) -> None:
    write_atomically(file, lambda path: path.write_text(text, encoding="utf-8"))


def _train(folder: Path, name: str, seed: int, device: str, title: str) -> dict[str, Any]:
    run_folder = folder / name / f"seed{seed}"
    reused = (run_folder / SUMMARY).is_file()
    resume = (run_folder / LAST).is_file()
    summary = train(folder / CONFIGS / f"{name}.yaml", run_dir=run_folder, resume=resume, seed=seed, device=device)
    top1 = summary["test_best" if name == TEACHER else "test_last"]["top1"]
    end = "from an earlier call" if reused else f"{summary['seconds']:.1f} s"
    tqdm.write(f"{title:<20}  seed {seed}  {top1:6.2f} %  {end}")
    return summary


def _check_teachers(summaries: Iterable[dict[str, Any]]) -> None:
    """Refuse to compare students of different teachers, as after the teacher was trained again."""
    weights = {summary["teacher"]["weights"] for summary in summaries if summary["teacher"] is not None}
    if len(weights) > 1:
        raise ValueError(
            "the students of this demo learned from different teachers; remove the folders of the older ones, or name "
            "another --run-dir"
        )
