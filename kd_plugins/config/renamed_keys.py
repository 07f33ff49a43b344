"""Keys of torchdistill before 1.0, and what they are called now."""

from __future__ import annotations

from collections.abc import Iterable

import yaml

from .config import Config
from .yaml_nodes import mapping_nodes

RENAMED = {
    "type": "key",
    "name": "key",
    "params": "kwargs",
    "ckpt": "src_ckpt",
    "factor": "weight",
    "random_sample": "sampler",
    "params_wise": "module_wise_configs",
    "clip_grad_norm": "max_grad_norm",
    "grad_accum_count": "grad_accum_step",
}
"""Old key -> new key, where the new one does the same."""

_WHOLE_SECTIONS = ("splits", "transform_params", "org_term", "special", "experiment")
"""Sections that have no counterpart of another name: they are written in another way now."""

_ENOUGH = 3


def renamed(key: object, section: Iterable[object], known: Iterable[str]) -> str | None:
    """Return what a key is called now, where its section takes that and has it not; None for another key.

    Example:
        >>> renamed("params", ["type", "params"], ["key", "kwargs"]), renamed("lr", ["lr"], ["key", "kwargs"])
        ('kwargs', None)
    """
    now = RENAMED.get(str(key))
    return now if now in tuple(known) and now not in tuple(section) else None


def old_config(config: Config) -> str | None:
    """Return what to say of a config that was written for torchdistill before 1.0; None for another one."""
    found: dict[str, int] = {}
    for node in mapping_nodes(config.root, set()):
        keys = [str(key.value) for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for key_node, _ in node.value:
            key = str(key_node.value)
            if key in _WHOLE_SECTIONS or ({"type", "name"} & set(keys) and "params" in keys and key in RENAMED):
                found.setdefault(key, key_node.start_mark.line + 1)
    if len(found) < _ENOUGH or any(key.value == "dependencies" for key, _ in config.root.value):
        return None
    lines = ", ".join(f"{key} (line {line})" for key, line in sorted(found.items(), key=lambda item: item[1]))
    return (
        f"this is a config of torchdistill 0.x, by its keys {lines}. Since 1.0 type and name are key, params is "
        "kwargs, factor is weight, ckpt is src_ckpt (to load) and dst_ckpt (to save), GeneralizedCustomLoss is "
        "WeightedSumLoss, and its org_term is one of the sub_terms; data sets are built by !import_call, and loaders "
        "take sampler and kwargs. `kd-plugins recipe` prints a config of the new form to start from"
    )
