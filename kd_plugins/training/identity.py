"""What makes two configs the same run: what is in their files, not where the files lie."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from ..config.config import Config
from ..config.leaves import leaves
from ..config.validate import stages

PLACES = ("root", "download", "statistics")
WORKERS = ("num_workers", "pin_memory", "persistent_workers", "prefetch_factor", "log_freq")
"""Keys that say where data come from and how they are fetched. A run may go on with other values."""


def may_change(path: tuple[str, ...]) -> bool:
    """Tell whether the value at a path says where something lies or how it is fetched, not what is trained.

    Example:
        >>> may_change(("models", "teacher_model", "src_ckpt")), may_change(("train", "num_epochs"))
        (True, False)
    """
    return any(key in (*PLACES, *WORKERS) or key.endswith(("ckpt", "checkpoint")) for key in path)


def differences(held: Config, asked: Config) -> list[tuple[tuple[str, ...], str, str]]:
    """Return the path and both values of everything in which two configs differ."""
    before, now = dict(leaves(held.root)), dict(leaves(asked.root))
    paths = [*before, *(path for path in now if path not in before)]
    pairs = [(path, before.get(path, "nothing"), now.get(path, "nothing")) for path in paths]
    return [(path, one, other) for path, one, other in pairs if one != other]


def data_identity(built: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return, for every loader of a config, the number of its images and what its classes are.

    Args:
        built: the config's objects.
    """
    loaders = {
        f"{name or 'train'}.{key}": stage.get(key)
        for name, stage in stages(built["train"]).items()
        for key in ("train_data_loader", "val_data_loader")
    }
    loaders["test.test_data_loader"] = (built.get("test") or {}).get("test_data_loader")
    found = {}
    for place, loader in loaders.items():
        if loader:
            dataset = built["datasets"][loader["dataset_id"]]
            names = getattr(dataset, "classes", None)
            found[place] = {
                "images": len(dataset),
                "classes": None if names is None else _digest(names),
            }
    return found


def _digest(names: Iterable[object]) -> str:
    return hashlib.sha256(json.dumps(list(map(str, names))).encode()).hexdigest()


def changed_data(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """Return in words in what the data of a resumed run differ; None where they do not."""
    for place, one in before.items():
        other = now.get(place) or {}
        if one == other:
            continue
        if one["images"] != other.get("images"):
            return f"{place} had {one['images']} images, now it has {other.get('images', 'none')}"
        return f"the classes of {place} are others than before"
    return None
