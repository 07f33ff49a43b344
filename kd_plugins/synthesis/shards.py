"""Files of synthetic images: a shard holds one batch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from .._errors import ConfigError
from ..runtime.checkpoint import write_atomically, write_text
from .optimise import Batch

SHARD = "shard-{:05d}.safetensors"
INFO = "synthesis.json"
SUMMARY, MADE_BY = "summary", "made_by"
NAMES = ("classes", "real")
"""Entries of ``synthesis.json`` that a call with ``--size`` does not know: the first call's are kept."""
FREE = ("images", "versions", *NAMES)
"""Entries that may differ between calls that fill one folder."""
DAMAGED = "is damaged: delete it, and run the command again to make it anew"


def shard_path(folder: Path, number: int) -> Path:
    """Return a shard's file.

    Example:
        >>> shard_path(Path(), 12).name
        'shard-00012.safetensors'
    """
    return folder / SHARD.format(number)


def shard_seed(seed: int, number: int) -> int:
    """Return the seed of a shard, which depends on no other shard."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0] >> 1)


def save_shard(path: Path, batch: Batch, info: dict[str, Any]) -> None:
    """Write a batch; the header has its terms and agreement, and a digest of what made it."""
    tensors = {"images": batch.images, "labels": batch.labels, "logits": batch.logits}
    # One entry, because safetensors writes several in an order that changes.
    header = {SUMMARY: json.dumps({"agreement": batch.agreement, "terms": batch.terms, MADE_BY: _digest(info)})}
    write_atomically(path, lambda temporary: temporary.write_bytes(save(tensors, metadata=header)))


def shard_summary(path: Path) -> dict[str, Any]:
    """Return number of images, agreement, terms and digest of a shard, from its header.

    Raises:
        ConfigError: if the file is damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {"images": file.get_slice("images").get_shape()[0], **json.loads(file.metadata()[SUMMARY])}
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise ConfigError(f"{path} {DAMAGED}") from error


@contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Tell whether this process may make a shard; no other process may then make it inside the block."""
    place = path.with_name(f".{path.name}.lock")
    lock = FileLock(place, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        yield False
        return
    try:
        for left in path.parent.glob(f".{path.name}.*.tmp"):  # of a killed process
            left.unlink(missing_ok=True)
        yield True
    finally:
        with suppress(OSError):
            place.unlink(missing_ok=True)
        lock.release()


def open_folder(folder: Path, info: dict[str, Any], sizes: list[int]) -> list[int]:
    """Create a folder or continue in it; return the numbers of the shards that exist.

    ``info``, what made the images, is equal in every call, and gets the names that the folder knows. ``sizes`` are the
    numbers of images of each shard.

    Raises:
        ConfigError: if the folder has images of another teacher or other options, or a damaged file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / INFO
    found = [number for number in range(len(sizes)) if shard_path(folder, number).exists()]
    if path.exists():
        info |= _names_of_same(path, info)
    elif not found and any(not file.name.startswith(".") for file in folder.iterdir()):
        raise ConfigError(f"--out {folder} is not empty and has no {INFO}; name a new folder")
    for number in found:
        shard = shard_path(folder, number)
        summary = shard_summary(shard)
        if summary.get(MADE_BY) != _digest(info):
            raise ConfigError(f"{shard} was made by another teacher or with other options; name another --out")
        count = summary["images"]
        if count != sizes[number]:
            raise ConfigError(
                f"{shard} has {count} images, {sizes[number]} expected: the number of images was different when it was "
                "made. Keep --images, delete this shard, or name another --out"
            )
    write_info(folder, info)
    return found


def write_info(folder: Path, info: dict[str, Any]) -> None:
    """Write ``synthesis.json``: what made the images, and a summary of every shard that exists."""
    with FileLock(folder / f".{INFO}.lock"):  # two processes may finish a shard at once
        shards = {path.stem: shard_summary(path) for path in sorted(folder.glob("shard-*.safetensors"))}
        text = json.dumps({**info, "shards": shards}, indent=1)
        write_text(folder / INFO, text + "\n")


def _digest(info: dict[str, Any]) -> str:
    fixed = {key: value for key, value in info.items() if key not in FREE}
    return hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()


def _names_of_same(path: Path, info: dict[str, Any]) -> dict[str, Any]:
    """Return the names in a ``synthesis.json`` of the same teacher and options."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} {DAMAGED}") from error
    if not isinstance(known, dict):
        raise ConfigError(f"{path} {DAMAGED}")
    now = json.loads(json.dumps(info))
    for key in info:
        if key not in FREE and known.get(key) != now[key]:
            raise ConfigError(
                f"{path.parent} has images with other settings: {_difference(key, known.get(key), now[key])}; repeat "
                "the first call, or name another --out"
            )
    return {key: known[key] for key in NAMES if known.get(key)}


def _difference(key: str, before: Any, now: Any) -> str:
    if isinstance(before, dict) and isinstance(now, dict):
        name = next(name for name in {**before, **now} if before.get(name) != now.get(name))
        return _difference(f"{key}.{name}" if key != "options" else name, before.get(name), now.get(name))
    return f"{key} {json.dumps(before)}, now {json.dumps(now)}"
