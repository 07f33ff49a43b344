"""Run the demo: a teacher of digits, images out of it, and students that learn from those images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..._checks import check_at_least
from ...synthesis.options import Options
from ...synthesis.shards import INFO
from ...synthesis.synthesize import synthesize
from ..folder import CONFIGS, RESULTS, TABLE, check_seeds, train_run, train_runs, write_configs, write_results
from .configs import student_config, teacher_config
from .pictures import save_images
from .table import collect, described, markdown

TEACHER = "teacher"
PICTURE, IMAGES = "images.png", "images"
# Few steps need a higher rate, and more weight on the labels, than the 2000 of the defaults.
OPTIONS = Options(ce=3.0, lr=0.1, grey=True)
FOLDERS: dict[str, dict[str, Any]] = {"DeepInversion": {}, "DeepDream": {"bn": 0.0}, "noise": {"steps": 0}}
"""Kinds of images -> what differs from the options of DeepInversion."""
REAL = "real"
RUNS = (("DeepInversion", "kd"), ("DeepInversion", "sfkd"), ("DeepDream", "kd"), ("noise", "kd"), (REAL, "kd"))
"""Images and method of each row of the table."""


@dataclass(frozen=True)
class DataFreeSchedule:
    """Epochs of teacher and students, and images and steps of the synthesis."""

    teacher_epochs: int = 12
    student_epochs: int = 12
    images: int = 600
    batch: int = 200
    steps: int = 200

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            check_at_least(name, value, 1)
        check_at_least("images", self.images, 32)


DEFAULT = DataFreeSchedule()


def run_data_free_demo(
    run_dir: str | Path = "runs/demo_data-free",
    *,
    seeds: Sequence[int] = (0, 1, 2),
    device: str = "cpu",
    schedule: DataFreeSchedule = DEFAULT,
) -> dict[str, Any]:
    """Distil a teacher of digits without its data; print a table, save it with a picture, and return ``results.json``.

    Finished runs and shards in ``run_dir`` are reused; unfinished ones continue. No image chooses an epoch: students
    keep their last one.

    Args:
        run_dir: folder of all files.
        seeds: distinct seeds of the students.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        schedule: numbers of epochs, images and steps.

    Raises:
        ValueError: on invalid seeds, or a folder with other contents.
    """
    check_seeds(seeds)
    folder = Path(run_dir).resolve()
    write_configs(folder, _configs(folder, schedule), sign=TEACHER, demo="demo of data-free distillation")
    teacher = train_run(folder, TEACHER, 0, score="test_last", device=device)
    for name, changed in FOLDERS.items():
        tqdm.write(f"{name}:")
        options = replace(OPTIONS, **{"steps": schedule.steps, **changed})
        # The configs of the other students name folders that do not exist yet.
        synthesize(
            folder / CONFIGS / f"{_name(REAL, 'kd')}.yaml", out=folder / IMAGES / name, images=schedule.images,
            batch=schedule.batch, options=options, device=device, note=tqdm.write,
        )  # fmt: skip
    order = [(_name(*run), seed) for seed in seeds for run in RUNS]
    summaries = train_runs(folder, order, device=device, options=lambda _name: {"score": "test_last"})
    top1 = {run: summary["test_last"]["top1"] for run, summary in summaries.items()}
    accuracies = {run: {seed: top1[_name(*run), seed] for seed in seeds} for run in RUNS}
    infos = {name: json.loads((folder / IMAGES / name / INFO).read_text(encoding="utf-8")) for name in FOLDERS}
    results = collect(
        accuracies, {name: described(info) for name, info in infos.items()}, teacher=teacher["test_last"]["top1"],
        schedule=vars(schedule),
    )  # fmt: skip
    table = markdown(results)
    found = write_results(folder, table, asdict(results))
    save_images({name: folder / IMAGES / name for name in FOLDERS}, folder / PICTURE, teacher=results.teacher)
    written = ", ".join(str(Path(run_dir) / name) for name in (TABLE, RESULTS, PICTURE))
    print(f"\n{table}\ntable, numbers and picture: {written}")
    return found


def _name(images: str, method: str) -> str:
    return f"{images.lower()}_{method}"


def _configs(folder: Path, schedule: DataFreeSchedule) -> dict[str, str]:
    checkpoint = folder / TEACHER / "seed0" / "best.pt"
    texts = {TEACHER: teacher_config(epochs=schedule.teacher_epochs)}
    for images, method in RUNS:
        texts[_name(images, method)] = student_config(
            method, checkpoint=checkpoint, images=schedule.images, epochs=schedule.student_epochs,
            folder=None if images == REAL else folder / IMAGES / images,
        )  # fmt: skip
    return texts
