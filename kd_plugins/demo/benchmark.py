"""Run the comparison on Fashion-MNIST: two teachers, then a student per teacher, method and seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from .._checks import unknown_name
from ..fitting.fit import fit
from ..methods import BASELINE
from ..reports.formats import as_json, markdown
from ..reports.plot import save_plot
from ..reports.runs import finished_runs
from ..reports.runs_table import tabulate
from ..runtime.checkpoint import write_text
from .fashion_mnist import DEFAULT, METHODS, TEACHERS, Lengths, student_config, teacher_config
from .folder import CONFIGS, check_seeds, check_teachers, train_run, write_configs
from .swept import swept_config

TEACHER_SEED = 0


def run_benchmark(
    run_dir: str | Path = "runs/demo_fashion-mnist",
    *,
    methods: Sequence[str] = METHODS,
    teachers: Sequence[str] = tuple(TEACHERS),
    seeds: Sequence[int] = (0, 1, 2),
    trials: int = 0,
    device: str = "cpu",
    lengths: Lengths = DEFAULT,
) -> str:
    """Compare methods on Fashion-MNIST; print and return a table per teacher, saved with the numbers and a plot.

    Finished runs in ``run_dir`` are reused; an unfinished one continues.

    Args:
        run_dir: folder of all files.
        methods: recipes to compare with cross-entropy alone, which is always run.
        teachers: ``"resnet20"``, ``"vit"`` or both.
        seeds: distinct seeds of the students.
        trials: points of a sweep over the weights of each method; the student with the best one is then trained, too.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        lengths: numbers of epochs.

    Raises:
        ValueError: on an unknown method or teacher, invalid seeds, or a folder with other contents.
    """
    check_seeds(seeds)
    for teacher in teachers:
        if teacher not in TEACHERS:
            raise unknown_name("teacher", teacher, TEACHERS)
    if not teachers or not methods:
        raise ValueError("name at least one teacher and one method")
    if trials < 0:
        raise ValueError(f"--trials must be a whole number of at least 0, found {trials}")
    folder = Path(run_dir).resolve()
    chosen = [method for method in dict.fromkeys(methods) if method != BASELINE]
    weights = {teacher: folder / teacher / "teacher" / f"seed{TEACHER_SEED}" / "best.pt" for teacher in teachers}
    texts = {f"{teacher}/teacher": teacher_config(teacher, lengths) for teacher in teachers}
    texts[BASELINE] = _student(folder, BASELINE, teachers[0], weights, lengths)
    for teacher in teachers:
        texts |= {f"{teacher}/{method}": _student(folder, method, teacher, weights, lengths) for method in chosen}
    write_configs(folder, texts, sign=BASELINE)
    # Seed by seed, so that an interrupted comparison has whole rows of fewer seeds.
    runs = [(f"{teacher}/teacher", TEACHER_SEED) for teacher in teachers]
    runs += [(name, seed) for seed in seeds for name in texts if not name.endswith("/teacher")]
    _train_all(folder, runs, device)
    if trials:
        for teacher in teachers:
            swept = [f"{teacher}/{method}" for method in chosen]
            names = [swept_config(folder, name, trials=trials, device=device) for name in swept]
            _train_all(folder, [(name, seed) for seed in seeds for name in names], device)
    return _finish(folder, Path(run_dir), teachers, chosen, swept=trials > 0)


def _student(folder: Path, method: str, teacher: str, weights: dict[str, Path], lengths: Lengths) -> str:
    statistics = _statistics(folder, f"{teacher}/{method}")
    return student_config(method, teacher, checkpoint=weights[teacher], statistics=statistics, lengths=lengths)


def _statistics(folder: Path, name: str) -> Path:
    return folder / name / "letkd_statistics.safetensors"


def _train_all(folder: Path, runs: Sequence[tuple[str, int]], device: str) -> None:
    with tqdm(runs, desc="runs", unit="run", disable=None) as bar:
        for name, seed in bar:
            bar.set_postfix_str(f"{name}, seed {seed}")
            config = folder / CONFIGS / f"{name}.yaml"
            statistics = _statistics(folder, name.removesuffix("_swept"))
            if str(statistics) in config.read_text(encoding="utf-8") and not statistics.is_file():
                fit(config, seed=TEACHER_SEED, device=device)
            # Convolutions on a CPU are quicker with the channels last.
            train_run(folder, name, seed, score="test_best", device=device, channels_last=True)


def _finish(folder: Path, shown: Path, teachers: Sequence[str], methods: Sequence[str], *, swept: bool) -> str:
    """Write and print the tables."""
    parts, written = [], []
    for teacher in teachers:
        names = [f"{teacher}/{method}{end}" for method in methods for end in ("", *(["_swept"] if swept else []))]
        found = finished_runs([folder / BASELINE, *(folder / name for name in names)])
        check_teachers(run.summary for run in found)
        rows = [
            replace(row, name=row.name.removesuffix(".yaml").replace("_swept", ", swept weights"))
            for row in tabulate(found, baseline=BASELINE)
        ]
        parts.append(f"Teacher {TEACHERS[teacher]}, student ResNet-8\n\n{markdown(rows)}")
        for end, text in (("md", parts[-1]), ("json", as_json(rows))):
            write_text(folder / f"{teacher}.{end}", text)
        save_plot(rows, folder / f"{teacher}.png")
        written += [str(shown / f"{teacher}.{end}") for end in ("md", "json", "png")]
    text = "\n".join(parts)
    print(f"\n{text}\ntables, numbers and plots: {', '.join(written)}")
    return text
