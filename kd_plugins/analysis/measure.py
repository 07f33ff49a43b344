"""Evaluate a trained student and its teacher on a config's test set, with pictures beside the checkpoint."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .._errors import ConfigError
from ..config.build import build_config, build_models, build_test_loader, evaluation_teacher, quiet_torchdistill
from ..config.config import read_config
from ..host.model_sections import model_title
from ..models import load_checkpoint
from ..runtime.distributed import processes
from ..runtime.evaluate import evaluate
from ..runtime.metrics import ACCURACY
from ..runtime.seed import seed_everything
from ..runtime.tasks import DETECTION, task_of
from .compare import compare, comparison_report, save_heat_map
from .plot_subclasses import save_picture
from .show_subclasses import assignment_report
from .show_subclasses import show_subclasses as assignments

PICTURES: dict[str, tuple[str, str, Callable[[Any], str], Callable[[Any, Path], None]]] = {
    "comparison": ("cka", "heat map of all layers", comparison_report, save_heat_map),
    "assignments": ("subclasses", "marked images", assignment_report, save_picture),
}
"""Key in the result -> file name suffix, title, text report, drawing function."""


def measure(
    config_path: str | Path,
    checkpoint: str | Path,
    *,
    device: str = "auto",
    overrides: Sequence[str] = (),
    compare_teacher: bool = False,
    show_subclasses: bool = False,
) -> dict[str, Any]:
    """Return the accuracy of the student in a checkpoint and of the config's teacher.

    Args:
        config_path: the YAML file of the student's training.
        checkpoint: ``best.pt`` of a run, or any state dict of the student.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        overrides: ``KEY.PATH=VALUE`` strings that replace parts of the config.
        compare_teacher: also compare the two, see :func:`~kd_plugins.analysis.compare.compare`.
        show_subclasses: also assign positions of some test images, see
            :func:`~kd_plugins.analysis.show_subclasses.show_subclasses`.

    Returns:
        ``student`` and ``teacher`` (or None), with the scores of :func:`~kd_plugins.runtime.evaluate.evaluate`;
        ``comparison`` and ``assignments``, None unless requested.

    Raises:
        ValueError: for any mistake in the config or the checkpoint.
    """
    config = read_config(config_path, overrides)
    seed_everything(0)
    with processes(device) as procs, quiet_torchdistill():
        built = build_config(config)
        teacher, student, _ = build_models(config, built, procs)
        load_checkpoint(student, checkpoint)
        loader = build_test_loader(built, procs)
        if loader is None:
            raise ConfigError(f"{config.path}: the config has no test set; add test.test_data_loader")
        metric = built.get("metric", ACCURACY)
        if compare_teacher and teacher is None:
            raise ConfigError(f"{config.path}: --compare-teacher needs a teacher; the config has no teacher_model")
        if compare_teacher and task_of(loader).name == DETECTION.name:
            raise ConfigError(f"{config.path}: --compare-teacher compares classifiers; leave it out for detectors")
        result: dict[str, Any] = {"teacher": None, "comparison": None, "assignments": None}
        if show_subclasses:
            # First, because it is the most likely to fail and the rest takes time.
            result["assignments"] = assignments(
                config, built, teacher, student, loader.dataset, procs, checkpoint=checkpoint
            )
        result["student"] = evaluate(student, loader, procs, title="student", metric=metric)
        if teacher is not None:
            seen = evaluation_teacher(built, teacher, procs)
            result["teacher"] = evaluate(seen, loader, procs, title="teacher", metric=metric)
            if compare_teacher:
                result["comparison"] = compare(student, seen, loader, procs)
        for key in ("comparison", "assignments"):
            if result[key] is not None:
                names = tuple(model_title(built["models"][f"{side}_model"]) for side in ("student", "teacher"))
                result[key] = dataclasses.replace(result[key], models=names)
        return result


def check_plot(plot: str | None, *, compare_teacher: bool, show_subclasses: bool) -> None:
    """Raise ``ValueError`` if ``--plot`` is set, but not exactly one picture is requested.

    Example:
        >>> check_plot("a.png", compare_teacher=True, show_subclasses=False)
    """
    if plot is None or compare_teacher + show_subclasses == 1:
        return
    if compare_teacher:
        raise ValueError(
            f"--plot {plot} is one file, but --compare-teacher and --show-subclasses each make a picture: remove "
            "--plot or one of them"
        )
    raise ValueError("--plot is the heat map of --compare-teacher or the picture of --show-subclasses: add one of them")


def save_pictures(result: Mapping[str, Any], checkpoint: str | Path, plot: str | None) -> list[str]:
    """Save the pictures of a result of :func:`~kd_plugins.analysis.measure.measure`; return a text report for each.

    They are saved beside the checkpoint, or a single one in the file ``plot``.

    Raises:
        ValueError: if a file cannot be written.
    """
    texts = []
    for key, (end, title, report, save) in PICTURES.items():
        if result[key] is not None:
            beside = Path(checkpoint).expanduser()
            path = Path(plot or beside.with_name(f"{beside.stem}_{end}.png"))
            save(result[key], path)
            texts.append(f"{report(result[key])}\n{title}: {path}")
    return texts
