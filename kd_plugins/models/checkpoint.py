"""Weights from a file, without running anything that the file holds."""

from __future__ import annotations

import argparse
import pickle
import re
import warnings
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from .._checks import suggestion

ModelT = TypeVar("ModelT", bound=nn.Module)

WRAPPINGS = ("model", "state_dict", "net")
PREFIXES = ("module.", "_orig_mod.")
SHOWN = 3


def load_checkpoint(model: ModelT, path: str | PathLike[str]) -> ModelT:
    """Copy the weights of a checkpoint file into ``model``, all of them or none.

    The file holds a state dict, or a dictionary with one under ``model``, ``state_dict`` or ``net``. Names
    may carry the prefix of a parallel or compiled model. Files ending in ``.safetensors`` are read as such,
    all others as written by ``torch.save``. Only tensors and plain values are read: a file that asks for code
    is refused, so an unknown file does no harm. Entries beside the weights may be NumPy numbers or an
    ``argparse.Namespace``, which public checkpoints often carry.

    Args:
        model: changed in place.
        path: ``.pth``, ``.pt``, ``.tar``, ``.bin`` or ``.safetensors`` file.

    Returns:
        The same ``model``.

    Raises:
        ValueError: if the file is missing, damaged, asks for code, holds no weights, or if the names and
            shapes are not exactly those of ``model``.

    Example:
        >>> import tempfile
        >>> source, copy = nn.Linear(2, 1), nn.Linear(2, 1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     torch.save({"net": source.state_dict(), "epoch": 3}, f"{folder}/best.pth")
        ...     _ = load_checkpoint(copy, f"{folder}/best.pth")
        >>> torch.equal(copy.weight, source.weight)
        True
    """
    file = Path(path)
    _check_exists(file)
    state = _strip_prefixes(_find_state_dict(_read(file), file))
    _check_fit(model, state, file)
    model.load_state_dict(state)
    return model


def _check_exists(file: Path) -> None:
    if file.is_file():
        return
    if file.is_dir():
        raise ValueError(f"checkpoint must be a file, found the folder {str(file)!r}")
    if not file.parent.is_dir():
        raise ValueError(f"checkpoint {str(file)!r} is missing: there is no folder {str(file.parent)!r}")
    present = [entry.name for entry in file.parent.iterdir() if entry.is_file()]
    hint = suggestion(file.name, present) if present else "that folder has no files"
    raise ValueError(f"checkpoint {str(file)!r} is missing; {hint}")


def _read(file: Path) -> Any:
    if file.stat().st_size == 0:
        raise ValueError(f"checkpoint {str(file)!r} is empty; was its download or saving cut short?")
    damaged = (
        f"checkpoint {str(file)!r} is damaged or is no checkpoint: it must be written by torch.save or be a "
        "complete .safetensors file; was its download or saving cut short?"
    )
    if file.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(file)
        except SafetensorError as error:
            raise ValueError(f"{damaged} ({error})") from error
    try:
        with torch.serialization.safe_globals(_harmless_globals()), warnings.catch_warnings():
            # A plain pickle is refused below; the remark about its protocol would only distract.
            warnings.filterwarnings("ignore", message="Detected pickle protocol", category=UserWarning)
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        wanted = re.search(r"GLOBAL ([\w.]+)", str(error))
        if wanted or _is_foreign_pickle(file):
            wants = f"asks for {wanted[1]}" if wanted else "is a pickle that torch.save did not write"
            raise ValueError(_refusal(file, wants)) from None
        raise ValueError(damaged) from error
    except Exception as error:
        # Bytes that are no checkpoint end in whatever the unpickler stumbles over: KeyError, EOFError, ...
        raise ValueError(f"{damaged} ({type(error).__name__}: {str(error)[:200]})") from error


def _is_foreign_pickle(file: Path) -> bool:
    """Return whether a file starts like a pickle of another protocol than 2, the one of ``torch.save``."""
    with file.open("rb") as stream:
        start = stream.read(2)
    return start[:1] == b"\x80" and start[1:] != b"\x02"


def _refusal(file: Path, wants: str) -> str:
    return (
        f"checkpoint {str(file)!r} {wants}, and loading that could run code of the file: refused, "
        "nothing was executed. If you trust where it comes from, convert it once with "
        f"`d = torch.load({str(file)!r}, weights_only=False); torch.save(d['state_dict'], 'weights.pth')` "
        "(for a whole pickled model: `d.state_dict()`) and give weights.pth"
    )


def _harmless_globals() -> list[Any]:
    """Return what checkpoints hold beside tensors that cannot run code: NumPy numbers, parsed arguments."""
    kinds = {type(np.dtype(kind)) for kind in "?bBhHiIlLqQefd"}
    scalar = np.float64(0).__reduce__()[0]
    # NumPy 1 and 2 name the function differently; a file may come from either.
    names = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
    return [*((scalar, name) for name in names), np.dtype, *kinds, argparse.Namespace]


def _find_state_dict(found: Any, file: Path) -> dict[str, Tensor]:
    while isinstance(found, Mapping):
        if found and all(isinstance(name, str) and isinstance(v, Tensor) for name, v in found.items()):
            return dict(found)
        inner = next((found[key] for key in WRAPPINGS if isinstance(found.get(key), Mapping)), None)
        if inner is None:
            break
        found = inner
    seen = f"a dictionary with {_some(list(found))}" if isinstance(found, Mapping) else type(found).__name__
    raise ValueError(
        f"checkpoint {str(file)!r} must hold a state dict, bare or under one of {', '.join(WRAPPINGS)}; found {seen}"
    )


def _strip_prefixes(state: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in [p for _ in PREFIXES for p in PREFIXES]:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def _check_fit(model: nn.Module, state: Mapping[str, Tensor], file: Path) -> None:
    expected = model.state_dict()
    missing = [name for name in expected if name not in state]
    unexpected = [name for name in state if name not in expected]
    differing = [name for name in expected if name in state and state[name].shape != expected[name].shape]
    if not (missing or unexpected or differing):
        return
    faults = []
    if missing:
        faults.append(f"the file lacks {_some(missing)}")
    if unexpected:
        faults.append(f"the model lacks {_some(unexpected)}")
    if differing:
        shapes = [
            f"{name!r} (expected {tuple(expected[name].shape)}, found {tuple(state[name].shape)})" for name in differing
        ]
        faults.append(f"shapes differ at {_some(shapes, quote=False)}")
    hint = ""
    if not (missing or unexpected):
        hint = _class_count_hint([(expected[name].shape, state[name].shape) for name in differing])
    raise ValueError(f"checkpoint {str(file)!r} does not fit {type(model).__name__}: " + "; ".join(faults) + hint)


def _class_count_hint(shapes: list[tuple[torch.Size, torch.Size]]) -> str:
    """Return what to say when all that differs is the number of rows of one or two layers."""
    counts = {(want[:1], have[:1]) for want, have in shapes}
    if len(counts) > 1 or len(shapes) > 4 or any(want[1:] != have[1:] for want, have in shapes):
        return ""
    ((want, have),) = counts
    return (
        f". Only the classifier differs: number of classes expected {want[0]}, found {have[0]}; "
        f"build the model with num_classes: {have[0]}"
    )


def _some(items: list[Any], *, quote: bool = True) -> str:
    shown = ", ".join(repr(item) if quote else str(item) for item in items[:SHOWN]) or "nothing in it"
    return shown + (f" and {len(items) - SHOWN} more" if len(items) > SHOWN else "")
