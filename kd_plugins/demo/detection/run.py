"""The demo of detection: digits on canvases, found by a small Faster R-CNN that learns from a larger one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..._checks import check_at_least
from ...methods import BASELINE
from ...metrics.average_precision import require_pycocotools
from ...recipes import Request, recipe
from ..folder import CONFIGS, RESULTS, TABLE, check_seeds, threads_of, train_runs, write_configs, write_results
from .pictures import save_boxes
from .table import collect, markdown

TEACHER, STUDENT, DATA = "resnet10t", "test_resnet", "canvas-digits"
METHODS = ("kd", "ckd", "reviewkd", "ckd+reviewkd")
PICTURE = "boxes.png"
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
    """Distil a small detector; print a table, save it with a picture of boxes, and return ``results.json``.

    Finished runs in ``run_dir`` are reused; an unfinished one continues.

    Args:
        run_dir: folder of all files.
        methods: methods to compare with the student alone, which is always trained.
        seeds: distinct seeds of the students.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        schedule: numbers of images and epochs.

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
    options = {"score": "test_best", "metric": "ap"}
    last_only = {**options, "overrides": (NO_VALIDATION,)}
    summaries = train_runs(folder, runs, device=device, options=lambda name: options if name == TEACHER else last_only)
    students = {name: [summaries[name, seed] for seed in seeds] for name in names}
    threads = threads_of(folder, runs)
    results = collect(summaries[TEACHER, 0], students, seeds, threads=threads, schedule=vars(schedule))
    table = markdown(results)
    found = write_results(folder, table, asdict(results))
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
    return found


def _configs(folder: Path, names: Sequence[str], schedule: DetectionSchedule) -> dict[str, str]:
    checkpoint = str(folder / TEACHER / "seed0" / "best.pt")
    texts = {}
    for name in names:
        student = Request(
            name, TEACHER, STUDENT, DATA, epochs=schedule.student_epochs, train_images=schedule.student_images,
            checkpoint=checkpoint,
        )  # fmt: skip
        texts[name] = recipe(replace(student, teacher=None, checkpoint=None) if name == BASELINE else student)
    alone = Request(BASELINE, None, TEACHER, DATA, epochs=schedule.teacher_epochs, train_images=schedule.teacher_images)
    return {TEACHER: recipe(alone), **texts}
