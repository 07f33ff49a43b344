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


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return the changed entries as text; empty if there are none.

    Example:
        >>> changes({"threads": 2, "torch": "2.12.0"}, {"threads": 1, "torch": "2.12.0"})
        'threads 2 (now 1)'
    """
    names = [*before, *(name for name in now if name not in before)]
    pairs = [(name, before.get(name, "unknown"), now.get(name, "unknown")) for name in names]
    return ", ".join(f"{name} {one} (now {other})" for name, one, other in pairs if one != other)
