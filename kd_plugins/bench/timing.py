"""Times of callables, taken in turns so that other work on the machine slows all of them alike."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from .._checks import check_at_least

LARGEST_KEPT = 31 << 20
"""Bytes; glibc maps and unmaps larger blocks each time."""


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
            taken = _seconds(call, device)
            if turn >= warmup:
                seconds[name].append(taken)
    return {name: statistics.median(taken) for name, taken in seconds.items()}


@dataclass(frozen=True)
class Paired:
    """What two callables took, in pairs of one call each.

    Attributes:
        first: median seconds of the first.
        second: median seconds of the second.
        ratio: median over the pairs of the second's time to the first's.
        low: lower end of the 95 % confidence interval of ``ratio``.
        high: upper end.
    """

    first: float
    second: float
    ratio: float
    low: float
    high: float

    def within(self, share: float) -> bool:
        """Return whether the interval stays within that share of the ratio on both sides."""
        return (1 - share) * self.ratio <= self.low and self.high <= (1 + share) * self.ratio


def paired(
    first: Callable[[], object],
    second: Callable[[], object],
    *,
    within: float,
    least: int,
    most: int,
    device: torch.device | str = "cpu",
) -> Paired:
    """Time both once a round until the interval of the median ratio is narrow enough.

    Which of them goes first changes from round to round.

    Args:
        first: what the ratio is to.
        second: what is compared with it.
        within: how far the interval may reach from the ratio, as a share of it.
        least: rounds before the interval is looked at.
        most: rounds after which it is given up.
        device: waited for before and after each call.

    Example:
        >>> paired(list, dict, within=0.05, least=3, most=3).first > 0
        True
    """
    check_at_least("most", most, 1)
    rounds: list[tuple[float, float]] = []
    result = None
    while result is None or (len(rounds) < most and not (len(rounds) >= least and result.within(within))):
        if len(rounds) % 2:
            b, a = _seconds(second, device), _seconds(first, device)
        else:
            a, b = _seconds(first, device), _seconds(second, device)
        rounds.append((a, b))
        ratios = [b / a for a, b in rounds]
        firsts, seconds = zip(*rounds, strict=True)
        result = Paired(
            statistics.median(firsts), statistics.median(seconds), statistics.median(ratios), *median_interval(ratios)
        )
    return result


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % confidence interval of the median, whatever the distribution; of few values their range.

    Example:
        >>> median_interval(range(100)), median_interval([3.0, 1.0, 2.0])
        ((39, 60), (1.0, 3.0))
    """
    ordered = sorted(values)
    outside = max(0, math.floor(len(ordered) / 2 - 0.98 * math.sqrt(len(ordered))) - 1)
    return ordered[outside], ordered[-1 - outside]


def warm_allocator(device: torch.device | str) -> None:
    """Let glibc keep what a call frees, as it does in a training whose tensors are larger.

    It keeps up to twice the size of the largest block, of 32 MiB at most, that was ever freed. Below that, some calls
    pay page faults and others do not.
    """
    if torch.device(device).type == "cpu":
        torch.empty(LARGEST_KEPT, dtype=torch.uint8)


def _seconds(call: Callable[[], object], device: torch.device | str) -> float:
    wait_for(device)
    start = time.perf_counter()
    call()
    wait_for(device)
    return time.perf_counter() - start


def wait_for(device: torch.device | str) -> None:
    """Return when the device has done what was asked of it."""
    kind = torch.device(device).type
    if kind != "cpu":
        torch.get_device_module(kind).synchronize()
