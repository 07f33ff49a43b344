"""Checksums of the files of a run: what one flipped byte changes is noticed before it is used."""

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
    """A file of a run is missing, damaged or something else; the message names it."""


def sealed_json(value: Mapping[str, Any]) -> str:
    """Return a mapping as the text of a JSON file, with its checksum as the last entry."""
    return json.dumps({**value, CHECKSUM: _digest(value)}, indent=2) + "\n"


def read_sealed_json(path: Path) -> dict[str, Any]:
    """Return what :func:`sealed_json` wrote to a file, without the checksum.

    Raises:
        DamagedFileError: when it is cut, changed, or another file.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise DamagedFileError(f"{path} is damaged: it is no whole JSON file ({_line(error)})") from error
    if not isinstance(value, dict) or CHECKSUM not in value:
        raise DamagedFileError(f"{path} was not written by a training of this version of kd_plugins: no checksum in it")
    if value.pop(CHECKSUM) != _digest(value):
        raise DamagedFileError(f"{path} is damaged, or was edited: its checksum does not fit its contents")
    return value


def text_checksum(text: str) -> str:
    """Return the checksum of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def load_checked(path: Path) -> Any:
    """Return what ``torch.save`` wrote to a file, after a look at its checksums; nothing in it is executed.

    Raises:
        DamagedFileError: when the file is missing, cut, changed, or would run code.
    """
    if not path.is_file():
        raise DamagedFileError(f"{path} does not exist")
    try:
        # torch's files are zip archives with a CRC of every entry, which torch.load does not look at.
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise DamagedFileError(f"{path} is damaged: the checksum of {damaged} in it does not fit")
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        wanted = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f" ({wanted.group(1)})" if wanted else ""
        raise DamagedFileError(
            f"{path} would run code when it is loaded{what}, so it was not written by kd_plugins. Nothing in it was "
            "executed"
        ) from error
    except (RuntimeError, EOFError, zipfile.BadZipFile, KeyError, ValueError, IndexError, NotImplementedError) as error:
        if isinstance(error, DamagedFileError):
            raise
        raise DamagedFileError(f"{path} is truncated, damaged or no checkpoint ({_line(error)})") from error


def _digest(value: Mapping[str, Any]) -> str:
    return text_checksum(json.dumps(value, sort_keys=True))


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:160]
