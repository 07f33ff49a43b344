"""What the bits of a run depend on beside its config: threads, device, versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ..statistics.versions import versions


def environment(device: torch.device) -> dict[str, Any]:
    """Return what must be the same for a resumed run to equal the uninterrupted one bit for bit.

    Args:
        device: of the run.
    """
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
    return {
        "threads": torch.get_num_threads(),
        "device": f"{device.type} ({name})",
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        **versions(),
    }


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return in words what is another than before; empty where nothing is.

    Example:
        >>> changes({"threads": 2, "torch": "2.12.0"}, {"threads": 1, "torch": "2.12.0"})
        'threads 2 (now 1)'
    """
    names = [*before, *(name for name in now if name not in before)]
    pairs = [(name, before.get(name, "unknown"), now.get(name, "unknown")) for name in names]
    return ", ".join(f"{name} {one} (now {other})" for name, one, other in pairs if one != other)
