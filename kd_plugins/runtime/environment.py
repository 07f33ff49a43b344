"""The environment that affects the exact result of a run: threads, device, versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ..statistics.versions import versions


def environment(device: torch.device) -> dict[str, Any]:
    """Return everything besides the config that must not change for an exact resume."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
    return {
        "threads": torch.get_num_threads(),
        "device": f"{device.type} ({name})",
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        **versions(),
    }


def differing(before: Mapping[Any, Any], now: Mapping[Any, Any], absent: str) -> list[tuple[Any, Any, Any]]:
    """Return key and both values of every difference between two mappings; a missing value is ``absent``."""
    pairs = [(key, before.get(key, absent), now.get(key, absent)) for key in {**before, **now}]
    return [(key, one, other) for key, one, other in pairs if one != other]


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return the changed entries as text; empty if there are none.

    Example:
        >>> changes({"threads": 2, "torch": "2.12.0"}, {"threads": 1, "torch": "2.12.0"})
        'threads 2 (now 1)'
    """
    return ", ".join(f"{name} {one} (now {other})" for name, one, other in differing(before, now, "unknown"))
