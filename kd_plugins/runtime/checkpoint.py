"""Everything that an exact resume needs, in one file that is never half written."""

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
    """A checkpoint cannot be read or does not belong here; the message says what to do."""


def write_atomically(path: Path, write: Any) -> None:
    """Call ``write`` with a temporary path beside ``path``, then rename; a reader never sees half a file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except RuntimeError as error:  # what torch.save makes of a full disk or a folder that is gone
        raise OSError(errno.EIO, f"cannot be written ({' '.join(str(error).split())[:120]})", str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Save a run's state as ``last.pt``; the one before stays as ``previous.pt``.

    At every moment ``last.pt`` is a whole checkpoint.
    """
    last = folder / LAST
    first = not last.exists()
    if not first:
        write_atomically(folder / PREVIOUS, lambda path: _link(last, path))
    payload = {"format": FORMAT, "format_version": FORMAT_VERSION, **state}
    write_atomically(last, lambda path: torch.save(payload, path))
    if first:
        load_state(folder)  # an optimizer or schedule whose state cannot be read back is found out at once


def load_state(folder: Path) -> dict[str, Any]:
    """Return the state in ``last.pt``; nothing in the file is executed.

    Raises:
        CheckpointError: when it is missing, damaged, or something else.
    """
    path = folder / LAST
    previous = folder / PREVIOUS
    way_out = (
        f"the checkpoint of the epoch before is still there: rename {previous} to {LAST} and resume again"
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
            f"{path} has format version {state['format_version']}, this version of kd_plugins reads "
            f"{FORMAT_VERSION}; resume with the version that wrote it (run.json names it)"
        )
    return state


def load_best(folder: Path) -> dict[str, Any]:
    """Return what ``best.pt`` holds: the student's weights under ``model``, ``best_value`` and ``epoch``.

    Raises:
        CheckpointError: when it is missing, damaged, or something else.
    """
    path = folder / BEST
    try:
        best = load_checked(path)
        if not isinstance(best, dict) or not {"model", "best_value", "epoch"} <= best.keys():
            raise DamagedFileError(f"{path} is not the best checkpoint of a kd-plugins run")
    except DamagedFileError as error:
        raise CheckpointError(
            f"{error}. It held the weights of the best epoch so far, which no other file has: put a copy back, or "
            "start again in another --run-dir"
        ) from error
    return best


def random_state(loader: DataLoader | None) -> dict[str, Any]:
    """Return the state of every random generator that training draws from, in types that load safely."""
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
    """Put back what :func:`random_state` returned."""
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
    """Return the parameters and buffers of a wrapper that are not the wrapped model's: its adapters.

    Names are those of the module tree, so wrappers that hide their adapters from ``state_dict`` are covered.
    """
    inside = {id(t) for t in (*model.parameters(), *model.buffers())}
    named = (*wrapper.named_parameters(), *wrapper.named_buffers())
    return {name: tensor.detach() for name, tensor in named if id(tensor) not in inside}


def load_tensors_beside(wrapper: nn.Module, model: nn.Module, saved: dict[str, Tensor]) -> None:
    """Copy what :func:`tensors_beside` returned back into a wrapper built alike.

    Raises:
        CheckpointError: when names or shapes differ.
    """
    own = tensors_beside(wrapper, model)
    if {n: t.shape for n, t in own.items()} != {n: t.shape for n, t in saved.items()}:
        raise CheckpointError(
            f"the checkpoint's adapters do not fit {type(wrapper).__name__}: expected {sorted(own)}, "
            f"found {sorted(saved)}"
        )
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(saved[name])


def _generators(loader: DataLoader | None) -> list[torch.Generator]:
    if loader is None:
        return []
    owners = (loader, loader.sampler, loader.batch_sampler, getattr(loader.batch_sampler, "sampler", None))
    found: list[torch.Generator] = []
    for owner in owners:
        generator = getattr(owner, "generator", None)
        if isinstance(generator, torch.Generator) and all(generator is not g for g in found):
            found.append(generator)
    return found


def _link(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        os.link(source, target)
        return
    shutil.copyfile(source, target)
