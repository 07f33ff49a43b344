"""Run the demo: train a teacher, then a student per method and seed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .configs import DEFAULT, TEACHER, Schedule, student_config, teacher_config
from .folder import (
    RESULTS,
    TABLE,
    check_seeds,
    check_teachers,
    threads_of,
    train_runs,
    write_configs,
    write_results,
)
from .methods import NO_TRANSFORM, variants
from .plot import save_plot
from .table import collect, markdown

PLOT, TEACHER_SEED = "plot.png", 0


def run_demo(
    run_dir: str | Path = "runs/demo",
    *,
    methods: Sequence[str] = ("kd", "lskd", "ckd"),
    transforms: Sequence[str] = (NO_TRANSFORM,),
    seeds: Sequence[int] = (0, 1, 2),
    device: str = "cpu",
    schedule: Schedule = DEFAULT,
) -> dict[str, Any]:
    """Distil a ViT into a small CNN on real digits; print a table, save it with a plot, and return ``results.json``.

    Finished runs in ``run_dir`` are reused; an unfinished one continues.

    Args:
        run_dir: folder of all files.
        methods: methods to compare with cross-entropy alone, which is always run.
        transforms: transforms to combine with each method.
        seeds: distinct seeds of the students.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        schedule: numbers of epochs.

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

    def options(name: str) -> dict[str, str]:
        return {"title": titles[name], "score": "test_best" if name == TEACHER else "test_last"}

    summaries = train_runs(folder, runs, device=device, options=options)
    students = {variant: [summaries[variant.key, seed] for seed in seeds] for variant in chosen}
    check_teachers(summary for runs_of in students.values() for summary in runs_of)
    results = collect(summaries[TEACHER, TEACHER_SEED], students, seeds, threads=threads_of(folder, runs))
    table = markdown(results)
    found = write_results(folder, table, results.as_dict())
    save_plot(results, folder / PLOT)
    print(f"\n{table}\ntable, numbers and plot: {', '.join(str(Path(run_dir) / n) for n in (TABLE, RESULTS, PLOT))}")
    return found
