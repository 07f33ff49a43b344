"""Times of callables, taken in turns so that what else the machine does weighs on all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import torch

from .._checks import check_at_least


def interleaved_medians(
    callables: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    warmup: int = 3,
    device: torch.device | str = "cpu",
) -> dict[str, float]:
    """Time every callable once a round, in turns, and return the median of each over the rounds.

    Args:
        callables: name -> what to time.
        rounds: how often each is timed, at least 1.
        warmup: rounds that are not counted.
        device: waited for before and after each call.

    Returns:
        Name -> seconds.

    Raises:
        ValueError: if ``rounds`` is below 1.

    Example:
        >>> sorted(interleaved_medians({"list": list, "dict": dict}, rounds=3))
        ['dict', 'list']
    """
    check_at_least("rounds", rounds, 1)
    seconds: dict[str, list[float]] = {name: [] for name in callables}
    for turn in range(warmup + rounds):
        for name, call in callables.items():
            wait_for(device)
            start = time.perf_counter()
            call()
            wait_for(device)
            if turn >= warmup:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(taken) for name, taken in seconds.items()}


def wait_for(device: torch.device | str) -> None:
    """Return when the device has done what was asked of it."""
    kind = torch.device(device).type
    if kind != "cpu":
        torch.get_device_module(kind).synchronize()
