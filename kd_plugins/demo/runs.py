"""Run the demo: train a teacher, then a student per method and seed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..runtime.checksums import read_sealed_json
from ..runtime.run_names import INFO
from .configs import DEFAULT, TEACHER, Schedule, student_config, teacher_config
from .folder import CONFIGS, check_teachers, train_run, write_configs, write_text
from .methods import NO_TRANSFORM, variants
from .plot import save_plot
from .table import collect, markdown

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
    write_configs(folder, texts, sign=TEACHER)
    titles = {TEACHER: "teacher", **{variant.key: variant.title for variant in chosen}}
    runs = [(TEACHER, TEACHER_SEED), *((variant.key, seed) for variant in chosen for seed in seeds)]
    summaries: dict[tuple[str, int], dict[str, Any]] = {}
    with tqdm(runs, desc="runs", unit="run", disable=None) as bar:
        for name, seed in bar:
            bar.set_postfix_str(f"{name}, seed {seed}")
            file, score = folder / CONFIGS / f"{name}.yaml", "test_best" if name == TEACHER else "test_last"
            summaries[name, seed] = train_run(
                file, folder / name / f"seed{seed}", seed=seed, device=device, title=titles[name], score=score
            )
    students = {variant: [summaries[variant.key, seed] for seed in seeds] for variant in chosen}
    check_teachers(summary for runs_of in students.values() for summary in runs_of)
    threads = [read_sealed_json(folder / name / f"seed{seed}" / INFO)["environment"]["threads"] for name, seed in runs]
    results = collect(summaries[TEACHER, TEACHER_SEED], students, seeds, threads=threads)
    table, found = markdown(results), results.as_dict()
    text = json.dumps(found, indent=2) + "\n"
    write_text(folder / TABLE, table)
    write_text(folder / RESULTS, text)
    save_plot(results, folder / PLOT)
    print(f"\n{table}\ntable, numbers and plot: {', '.join(str(Path(run_dir) / n) for n in (TABLE, RESULTS, PLOT))}")
    return json.loads(text)


def check_seeds(seeds: Sequence[int]) -> None:
    """Raise ``ValueError`` unless ``seeds`` are different whole numbers, at least one."""
    whole = all(isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0 for seed in seeds)
    if not seeds or not whole or len(set(seeds)) != len(seeds):
        raise ValueError(f"seeds must be different whole numbers of at least 0, found {list(seeds)!r}")
