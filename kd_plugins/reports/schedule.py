"""The settings that compared runs must share: data, optimizer, learning rate, epochs, effective batch size."""

from __future__ import annotations

from collections.abc import Mapping

import yaml

from ..config.config import Config
from ..config.leaves import entries, leaves

_STAGE_PARTS = ("num_epochs", "optimizer", "scheduler")
_NOT_COMPARED = ("root", "download", "num_workers", "pin_memory", "persistent_workers", "prefetch_factor")
"""Keywords for paths and loading of data, which do not affect the result."""


def schedule_of(config: Config, *, world_size: int = 1) -> dict[str, str]:
    """Return the settings that a comparison of methods must keep fixed, as ``{path: value}``.

    The learning rate is compared as written. File paths and the method's own parts (loss, wrappers, second view) are
    excluded. Each of ``world_size`` processes uses the config's batch size.

    Example:
        >>> from pathlib import Path
        >>> from kd_plugins.config.config import parse_config
        >>> text = "train: {num_epochs: 3, train_data_loader: {kwargs: {batch_size: 64}}}"
        >>> schedule_of(parse_config(text, Path("c.yaml")), world_size=2)
        {'train.num_epochs': '3', 'train.effective batch size': '128'}
    """
    top = entries(config.root)
    found: dict[str, str] = {}
    if "datasets" in top:
        found.update(_leaves(top["datasets"], "datasets"))
    train = entries(top.get("train"))
    stages: dict[str, yaml.Node | None] = {name: node for name, node in train.items() if name.startswith("stage")}
    for name, node in (stages or {"": top.get("train")}).items():
        stage = entries(node)
        prefix = f"train.{name}." if name else "train."
        for part in _STAGE_PARTS:
            if part in stage:
                found.update(_leaves(stage[part], prefix + part))
        accumulated = int(found.get(f"{prefix}optimizer.grad_accum_step", "1") or 1)
        kwargs = entries(entries(stage.get("train_data_loader")).get("kwargs"))
        if "batch_size" in kwargs:
            found[f"{prefix}effective batch size"] = str(int(kwargs["batch_size"].value) * world_size * accumulated)
    return found


def first_difference(one: Mapping[str, str], other: Mapping[str, str]) -> tuple[str, str, str] | None:
    """Return path and both values of the first difference between two schedules, or None.

    Example:
        >>> first_difference({"train.num_epochs": "240"}, {"train.num_epochs": "480"})
        ('train.num_epochs', '240', '480')
    """
    for path in [*one, *(path for path in other if path not in one)]:
        values = (one.get(path, "nothing"), other.get(path, "nothing"))
        if values[0] != values[1] and not _same_number(*values):
            return (path, *values)
    return None


def _same_number(one: str, other: str) -> bool:
    try:
        return float(one) == float(other)
    except ValueError:
        return False


def _leaves(node: yaml.Node, prefix: str) -> dict[str, str]:
    kept = ((path, text) for path, text in leaves(node) if not set(path) & set(_NOT_COMPARED))
    return {".".join((prefix, *path)): text for path, text in kept}
