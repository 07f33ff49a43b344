"""The demo of detection: digits on canvases, found by a small Faster R-CNN that learns from a larger one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..._checks import check_at_least
from ...methods import BASELINE
from ...metrics.average_precision import require_pycocotools
from ...recipes import Request, recipe
from ...runtime.checksums import read_sealed_json
from ...runtime.run_names import INFO
from ..folder import CONFIGS, train_run, write_configs, write_text
from ..runs import check_seeds
from .pictures import save_boxes
from .table import collect, markdown

TEACHER, STUDENT, DATA = "resnet10t", "test_resnet", "canvas-digits"
METHODS = ("kd", "ckd", "reviewkd", "ckd+reviewkd")
TABLE, RESULTS, PICTURE = "table.md", "results.json", "boxes.png"
NO_VALIDATION = "train.val_data_loader={}"
"""Students keep their last epoch, so no images are needed to choose one."""


@dataclass(frozen=True)
class DetectionSchedule:
    """Training images and epochs of teacher and students."""

    teacher_images: int = 400
    teacher_epochs: int = 12
    student_images: int = 100
    student_epochs: int = 20

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            check_at_least(name, value, 1)


DEFAULT = DetectionSchedule()


def run_detection_demo(
    run_dir: str | Path = "runs/demo_detection",
    *,
    methods: Sequence[str] = METHODS,
    seeds: Sequence[int] = (0, 1, 2),
    device: str = "cpu",
    schedule: DetectionSchedule = DEFAULT,
) -> dict[str, Any]:
    """Distil a small detector; print a table, and save it with a picture of boxes.

    Finished runs in ``run_dir`` are reused; an unfinished one continues.

    Args:
        run_dir: folder of all files.
        methods: methods to compare with the student alone, which is always trained.
        seeds: distinct seeds of the students.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        schedule: numbers of images and epochs.

    Returns:
        The contents of ``results.json``.

    Raises:
        ValueError: on an unknown method, invalid seeds, a folder with other contents, or without pycocotools.
    """
    require_pycocotools()
    check_seeds(seeds)
    if not methods:
        raise ValueError(f"name at least one method, such as {METHODS[0]}")
    folder = Path(run_dir).resolve()
    names = list(dict.fromkeys([BASELINE, *methods]))
    write_configs(folder, _configs(folder, names, schedule), sign=TEACHER, demo="demo of detection")
    runs = [(TEACHER, 0), *((name, seed) for name in names for seed in seeds)]
    summaries: dict[tuple[str, int], dict[str, Any]] = {}
    with tqdm(runs, desc="runs", unit="run", disable=None) as bar:
        for name, seed in bar:
            bar.set_postfix_str(f"{name}, seed {seed}")
            summaries[name, seed] = train_run(
                folder / CONFIGS / f"{name}.yaml", folder / name / f"seed{seed}", seed=seed, device=device, title=name,
                score="test_best", metric="ap", overrides=() if name == TEACHER else (NO_VALIDATION,),
            )  # fmt: skip
    students = {name: [summaries[name, seed] for seed in seeds] for name in names}
    threads = {read_sealed_json(folder / n / f"seed{seed}" / INFO)["environment"]["threads"] for n, seed in runs}
    results = collect(summaries[TEACHER, 0], students, seeds, threads=sorted(threads), schedule=vars(schedule))
    table, text = markdown(results), json.dumps(results.as_dict(), indent=2) + "\n"
    write_text(folder / TABLE, table)
    write_text(folder / RESULTS, text)
    shown = {TEACHER: TEACHER, "student alone": BASELINE, names[-1]: names[-1]}
    save_boxes(
        {
            title: (folder / CONFIGS / f"{name}.yaml", folder / name / f"seed{0 if name == TEACHER else seeds[0]}")
            for title, name in shown.items()
        },
        folder / PICTURE,
    )
    print(
        f"\n{table}\ntable, numbers and picture: {', '.join(str(Path(run_dir) / n) for n in (TABLE, RESULTS, PICTURE))}"
    )
    return json.loads(text)


def _configs(folder: Path, names: Sequence[str], schedule: DetectionSchedule) -> dict[str, str]:
    checkpoint = str(folder / TEACHER / "seed0" / "best.pt")
    students = {
        name: recipe(
            Request(
                name,
                None if name == BASELINE else TEACHER,
                STUDENT,
                DATA,
                epochs=schedule.student_epochs,
                train_images=schedule.student_images,
                checkpoint=None if name == BASELINE else checkpoint,
            )
        )
        for name in names
    }
    alone = Request(BASELINE, None, TEACHER, DATA, epochs=schedule.teacher_epochs, train_images=schedule.teacher_images)
    return {TEACHER: recipe(alone), **students}
