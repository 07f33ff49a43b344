"""Keys of torchdistill before 1.0 and their new names."""

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
"""Old key -> new key with the same meaning."""

_WHOLE_SECTIONS = ("splits", "transform_params", "org_term", "special", "experiment")
"""Sections without a renamed counterpart; configs are structured differently now."""

_ENOUGH = 3


def renamed(key: object, section: Iterable[object], known: Iterable[str]) -> str | None:
    """Return the new name of an old key if its section takes that name and lacks it; else None.

    Example:
        >>> renamed("params", ["type", "params"], ["key", "kwargs"]), renamed("lr", ["lr"], ["key", "kwargs"])
        ('kwargs', None)
    """
    now = RENAMED.get(str(key))
    return now if now in tuple(known) and now not in tuple(section) else None


def old_config(config: Config) -> str | None:
    """Return a message about a config written for torchdistill before 1.0; None for other configs."""
    found: dict[str, int] = {}
    for node in mapping_nodes(config.root):
        keys = [str(key.value) for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for key_node, _ in node.value:
            key = str(key_node.value)
            if key in _WHOLE_SECTIONS or ({"type", "name"} & set(keys) and "params" in keys and key in RENAMED):
                found.setdefault(key, key_node.start_mark.line + 1)
    if len(found) < _ENOUGH or any(key.value == "dependencies" for key, _ in config.root.value):
        return None
    lines = ", ".join(f"{key} (line {line})" for key, line in sorted(found.items(), key=lambda item: item[1]))
    return (
        f"this config is written for torchdistill 0.x; its keys are {lines}. Since 1.0, type and name are key, params "
        "is kwargs, factor is weight, ckpt is src_ckpt (to load) and dst_ckpt (to save), GeneralizedCustomLoss is "
        "WeightedSumLoss, and org_term is one of the sub_terms. Data sets are built by !import_call, and loaders take "
        "sampler and kwargs. `kd-plugins recipe` prints a config in the new format to start from"
    )
