"""Reading of checkpoint files without running code from them."""

from __future__ import annotations

import argparse
import warnings
from os import PathLike
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import torch

from ..._checks import suggestion
from .kinds import foreign_kind, is_safetensors
from .refused import refusal


def local_file(path: str | PathLike[str]) -> Path:
    """Return the local file for a path, which may begin with ``~``, or for a URL, downloaded to PyTorch's folder."""
    if isinstance(path, str) and path.startswith(("http://", "https://")):
        return _downloaded(path)
    try:
        file = Path(path).expanduser()
        there = file.is_file()
    except (RuntimeError, ValueError, OSError) as error:
        raise ValueError(f"checkpoint must be a path, found {str(path)!r}: {error}") from error
    if there:
        return file
    if file.is_dir():
        raise ValueError(f"checkpoint must be a file, found the folder {str(file)!r}")
    if not file.parent.is_dir():
        raise ValueError(f"checkpoint {str(file)!r} is missing: there is no folder {str(file.parent)!r}")
    present = [entry.name for entry in file.parent.iterdir() if entry.is_file()]
    hint = suggestion(file.name, present) if present else "that folder has no files"
    raise ValueError(f"checkpoint {str(file)!r} is missing; {hint}")


def read_file(file: Path) -> Any:
    """Return the tensors and plain values of a checkpoint file; raise ``ValueError`` if that needs code or fails."""
    kind = foreign_kind(file)
    if kind is not None:
        raise ValueError(f"checkpoint {str(file)!r} {kind}")
    try:
        if file.suffix == ".safetensors" or is_safetensors(file):
            from safetensors.torch import load_file

            return load_file(file)
        with torch.serialization.safe_globals(_harmless_globals()), warnings.catch_warnings():
            # torch warns about pickles that are refused below.
            warnings.simplefilter("ignore")
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        # Arbitrary bytes make the unpickler raise anything: KeyError, EOFError, ...
        refused = refusal(file, error)
        if refused:
            raise ValueError(f"checkpoint {str(file)!r} {refused}") from None
        raise ValueError(
            f"checkpoint {str(file)!r} is damaged or is not a checkpoint: it must come from torch.save or be a "
            "complete .safetensors file; was its download or saving interrupted? "
            f"({type(error).__name__}: {str(error)[:200]})"
        ) from error


def _downloaded(address: str) -> Path:
    file = Path(torch.hub.get_dir(), "checkpoints", Path(urlsplit(address).path).name or "checkpoint.pth")
    if not file.is_file():
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(address, str(file), progress=False)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"checkpoint {address!r} cannot be downloaded ({error}): download it elsewhere and give its path"
            ) from error
    return file


def _harmless_globals() -> list[Any]:
    """Return classes and functions that checkpoints may use because they cannot run code: NumPy numbers, Namespace."""
    kinds = {type(np.dtype(kind)) for kind in "?bBhHiIlLqQefd"}
    scalar = np.float64(0).__reduce__()[0]
    # NumPy 1 and 2 use different names for the function; a file may come from either.
    names = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
    return [*((scalar, name) for name in names), np.dtype, *kinds, argparse.Namespace]
