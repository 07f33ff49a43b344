"""Copy the best weights of a run to a file that other configs load."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from ...runtime.checkpoint import load_best, write_atomically


def check_best_to(path: str | Path, *, force: bool) -> None:
    """Create the folder of the copy, and check before training that the file can be written.

    Raises:
        ValueError: if the file exists and ``force`` is not set, or it cannot be written.
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
    """Write the best weights of a run as a bare state dict, for ``src_ckpt`` of any config."""
    weights = load_best(run_folder)["model"]
    write_atomically(Path(path), lambda temporary: torch.save(weights, temporary))
