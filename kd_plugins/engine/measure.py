"""Measure a trained student, and its teacher, on a config's test set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..models import load_checkpoint
from .build import build_config, build_models, build_test_loader, evaluation_teacher, quiet_torchdistill
from .config import ConfigError, read_config
from .distributed import processes
from .evaluate import evaluate
from .seed import seed_everything


def measure(
    config_path: str | Path, checkpoint: str | Path, *, device: str = "auto", overrides: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the accuracy of a checkpoint's student, and of the config's teacher.

    Args:
        config_path: the YAML file that the student was trained with.
        checkpoint: ``best.pt`` of a run, or any state dict of the student.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        overrides: ``KEY.PATH=VALUE`` strings that replace parts of the config.

    Returns:
        ``student`` and ``teacher`` (None where there is none), each with ``top1``, ``top5`` and ``samples``.

    Raises:
        ValueError: on any mistake in the config or the checkpoint, in one message.
    """
    config = read_config(config_path, overrides)
    seed_everything(0)
    with processes(device) as procs, quiet_torchdistill():
        built = build_config(config)
        teacher, student, _ = build_models(config, built, procs)
        load_checkpoint(student, checkpoint)
        loader = build_test_loader(built, procs)
        if loader is None:
            raise ConfigError(f"{config.path}: nothing to test on; add test.test_data_loader to the config")
        result: dict[str, Any] = {
            "student": evaluate(student, loader, procs, title="student"),
            "teacher": None,
        }
        if teacher is not None:
            seen = evaluation_teacher(built, teacher, procs)
            result["teacher"] = evaluate(seen, loader, procs, title="teacher")
        return result
