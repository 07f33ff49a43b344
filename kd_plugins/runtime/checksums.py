"""Checksums for the files of a run, to detect damaged or edited files."""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

CHECKSUM = "checksum"


class DamagedFileError(ValueError):
    """A file of a run is missing, damaged or of another kind; the message names it."""


def sealed_json(value: Mapping[str, Any]) -> str:
    """Return a mapping as JSON text with a checksum as the last entry."""
    return json.dumps({**value, CHECKSUM: _digest(value)}, indent=2) + "\n"


def read_sealed_json(path: Path) -> dict[str, Any]:
    """Return the mapping that :func:`sealed_json` wrote, without the checksum.

    Raises:
        DamagedFileError: if the file is truncated, changed, or of another kind.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise DamagedFileError(f"{path} is damaged: it is not valid JSON ({_line(error)})") from error
    if not isinstance(value, dict) or CHECKSUM not in value:
        raise DamagedFileError(f"{path} has no checksum, so this version of kd_plugins did not write it")
    if value.pop(CHECKSUM) != _digest(value):
        raise DamagedFileError(f"{path} is damaged, or was edited: its checksum does not match its contents")
    return value


def text_checksum(text: str) -> str:
    """Return the checksum of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def load_checked(path: Path) -> Any:
    """Load a file of ``torch.save`` after checking its checksums, without executing code from it.

    Raises:
        DamagedFileError: if the file is missing, truncated, changed, or would run code.
    """
    if not path.is_file():
        raise DamagedFileError(f"{path} does not exist")
    try:
        # torch's files are zip archives with a CRC per entry, which torch.load does not check.
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise DamagedFileError(f"{path} is damaged: the checksum of {damaged} in it does not match")
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        wanted = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f" ({wanted[1]})" if wanted else ""
        raise DamagedFileError(
            f"{path} would run code when it is loaded{what}, so kd_plugins did not write it. No code was executed"
        ) from error
    except DamagedFileError:
        raise
    except (RuntimeError, EOFError, zipfile.BadZipFile, KeyError, ValueError, IndexError, NotImplementedError) as error:
        raise DamagedFileError(f"{path} is truncated, damaged or not a checkpoint ({_line(error)})") from error


def _digest(value: Mapping[str, Any]) -> str:
    return text_checksum(json.dumps(value, sort_keys=True))


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:160]
