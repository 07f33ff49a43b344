"""Decide whether two configs are the same run: file contents matter, paths do not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from ..config.class_numbering import loader_sections
from ..config.config import Config
from ..config.leaves import leaves
from ..runtime.environment import differing

PLACES = ("root", "annotations", "download", "statistics")
WORKERS = ("num_workers", "pin_memory", "persistent_workers", "prefetch_factor", "log_freq")
"""Keys for paths and for loading of data. Their values may change when a run is resumed."""


def may_change(path: tuple[str, ...]) -> bool:
    """Tell whether the value at a path is about file paths or data loading, not about what is trained.

    Example:
        >>> may_change(("models", "teacher_model", "src_ckpt")), may_change(("train", "num_epochs"))
        (True, False)
    """
    return any(key in (*PLACES, *WORKERS) or key.endswith(("ckpt", "checkpoint")) for key in path)


def differences(held: Config, asked: Config) -> list[tuple[tuple[str, ...], str, str]]:
    """Return path and both values of every difference between two configs."""
    return differing(dict(leaves(held.root)), dict(leaves(asked.root)), "nothing")


def data_identity(built: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the number of images and a hash of the class names for every loader of a config."""
    found = {}
    for place, loader in loader_sections(built):
        dataset = built["datasets"][loader["dataset_id"]]
        names = getattr(dataset, "classes", None)
        # Checkpoints name a loader by its stage, or train, and its key.
        key = ".".join(place[-2:])
        found[key] = {"images": len(dataset), "classes": None if names is None else _digest(names)}
    return found


def _digest(names: Iterable[object]) -> str:
    return hashlib.sha256(json.dumps(list(map(str, names))).encode()).hexdigest()


def changed_data(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """Return a message about how the data of a resumed run differ; None if they do not."""
    for place, one in before.items():
        other = now.get(place) or {}
        if one == other:
            continue
        if one["images"] != other.get("images"):
            return f"{place} had {one['images']} images, now it has {other.get('images', 'none')}"
        return f"the classes of {place} have changed"
    return None
