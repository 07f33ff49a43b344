"""Checkpoints for exact resuming, written atomically."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from .checksums import DamagedFileError, load_checked

FORMAT = "kd_plugins run state"
FORMAT_VERSION = 2
LAST, PREVIOUS, BEST = "last.pt", "previous.pt", "best.pt"


class CheckpointError(ValueError):
    """A checkpoint cannot be read or belongs to another run; the message says what to do."""


def write_atomically(path: Path, write: Any) -> None:
    """Call ``write`` with a temporary path beside ``path``, then rename, so that no reader sees a partial file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except RuntimeError as error:  # torch.save raises it for a full disk or a missing folder
        raise OSError(errno.EIO, f"cannot be written ({' '.join(str(error).split())[:120]})", str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file as :func:`write_atomically` does."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Save a run's state as ``last.pt`` and keep the previous one as ``previous.pt``.

    ``last.pt`` is a complete checkpoint at all times.
    """
    last = folder / LAST
    first = not last.exists()
    if not first:
        write_atomically(folder / PREVIOUS, lambda path: _link(last, path))
    payload = {"format": FORMAT, "format_version": FORMAT_VERSION, **state}
    write_atomically(last, lambda path: torch.save(payload, path))
    if first:
        load_state(folder)  # detect at once an optimizer or scheduler whose state cannot be loaded


def load_state(folder: Path) -> dict[str, Any]:
    """Return the state in ``last.pt`` without executing code from the file.

    Raises:
        CheckpointError: if it is missing, damaged, or not a run state.
    """
    path, previous = folder / LAST, folder / PREVIOUS
    way_out = (
        f"the previous checkpoint still exists: rename {previous} to {LAST} and resume again"
        if previous.exists()
        else "start again in another --run-dir"
    )
    if not path.exists():
        raise CheckpointError(f"{path} does not exist: nothing to resume; run without --resume to start")
    try:
        state = load_checked(path)
    except DamagedFileError as error:
        raise CheckpointError(f"{error}; {way_out}") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not the state of a kd-plugins run; {way_out}")
    if state["format_version"] != FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has format version {state['format_version']}, but this version of kd_plugins reads "
            f"{FORMAT_VERSION}; resume with the version that wrote it (see run.json)"
        )
    return state


def save_best(folder: Path, model: dict[str, Any], value: float, epoch: int) -> None:
    """Save the student's weights of the best epoch as ``best.pt``."""
    best = {"model": model, "best_value": value, "epoch": epoch}
    write_atomically(folder / BEST, lambda path: torch.save(best, path))


def load_best(folder: Path) -> dict[str, Any]:
    """Return the contents of ``best.pt``: the student's weights as ``model``, ``best_value`` and ``epoch``.

    Raises:
        CheckpointError: if it is missing, damaged, or another file.
    """
    path = folder / BEST
    try:
        best = load_checked(path)
        if not isinstance(best, dict) or not {"model", "best_value", "epoch"} <= best.keys():
            raise DamagedFileError(f"{path} is not the best checkpoint of a kd-plugins run")
    except DamagedFileError as error:
        raise CheckpointError(
            f"{error}. No other file has the weights of the best epoch: restore a copy, or start again in another "
            "--run-dir"
        ) from error
    return best


def random_state(loader: DataLoader | None) -> dict[str, Any]:
    """Return the states of all random generators used in training, in types that load safely."""
    kind, keys, position, has_gauss, gauss = np.random.get_state()
    version, internal, next_gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
        "numpy": [kind, torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, gauss],
        "python": [version, list(internal), next_gauss],
        "generators": [g.get_state() for g in _generators(loader)],
    }


def set_random_state(state: dict[str, Any], loader: DataLoader | None) -> None:
    """Restore the states from :func:`random_state`."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    version, internal, next_gauss = state["python"]
    random.setstate((version, tuple(internal), next_gauss))
    for generator, saved in zip(_generators(loader), state["generators"], strict=True):
        generator.set_state(saved)


def tensors_beside(wrapper: nn.Module, model: nn.Module) -> dict[str, Tensor]:
    """Return a wrapper's own parameters and buffers, without those of the wrapped model.

    Names come from the module tree, so adapters that the wrapper hides from ``state_dict`` are included.
    """
    inside = {id(t) for t in (*model.parameters(), *model.buffers())}
    named = (*wrapper.named_parameters(), *wrapper.named_buffers())
    return {name: tensor.detach() for name, tensor in named if id(tensor) not in inside}


def load_tensors_beside(wrapper: nn.Module, model: nn.Module, saved: dict[str, Tensor]) -> None:
    """Copy the tensors from :func:`tensors_beside` into an equal wrapper.

    Raises:
        CheckpointError: if names or shapes differ.
    """
    own = tensors_beside(wrapper, model)
    if {n: t.shape for n, t in own.items()} != {n: t.shape for n, t in saved.items()}:
        raise CheckpointError(
            f"the checkpoint's adapters do not match {type(wrapper).__name__}: expected {sorted(own)}, "
            f"found {sorted(saved)}"
        )
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(saved[name])


def _generators(loader: DataLoader | None) -> list[torch.Generator]:
    if loader is None:
        return []
    owners = (loader, loader.sampler, loader.batch_sampler, getattr(loader.batch_sampler, "sampler", None))
    generators = (getattr(owner, "generator", None) for owner in owners)
    return list({id(g): g for g in generators if isinstance(g, torch.Generator)}.values())


def _link(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        os.link(source, target)
        return
    shutil.copyfile(source, target)
