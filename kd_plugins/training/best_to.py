"""A copy of a run's best weights where other configs look for them."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from ..runtime.checkpoint import load_best, write_atomically


def check_best_to(path: str | Path, *, force: bool) -> None:
    """Make the folder of a copy; called before a training, so that none ends without a place for its weights.

    Raises:
        ValueError: when the file exists and ``force`` is not given, or it cannot be written.
    """
    file = Path(path)
    if file.is_dir():
        raise ValueError(f"--best-to {path} is a folder; name a file in it, such as {file / 'teacher.pth'}")
    if file.exists() and not force:
        raise ValueError(f"--best-to {path} exists; name another file, or replace it with --force")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--best-to {path} cannot be written: {error.strerror}; name another file") from error
    if not os.access(file.parent, os.W_OK | os.X_OK):
        raise ValueError(f"--best-to {path} cannot be written: no permission in {file.parent}; name another file")


def save_best_to(path: str | Path, run_folder: Path) -> None:
    """Write the best weights of a run as a bare state dict, which ``src_ckpt`` of any config loads."""
    weights = load_best(run_folder)["model"]
    write_atomically(Path(path), lambda temporary: torch.save(weights, temporary))
