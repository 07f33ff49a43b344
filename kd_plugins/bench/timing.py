"""Times of callables, measured in alternation so that other load on the machine affects all of them alike."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from .._checks import check_at_least

WARMUP = 3


def interleaved_medians(
    callables: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    warmup: int = WARMUP,
    device: torch.device | str = "cpu",
) -> dict[str, float]:
    """Time every callable once per round and return the median seconds of each over the rounds.

    The first ``warmup`` rounds are not counted. The device is synchronised before and after each call.

    Raises:
        ValueError: if ``rounds`` is below 1.

    Example:
        >>> sorted(interleaved_medians({"list": list, "dict": dict}, rounds=3))
        ['dict', 'list']
    """
    check_at_least("rounds", rounds, 1)
    seconds: dict[str, list[float]] = {name: [] for name in callables}
    for _ in range(warmup + rounds):
        for name, call in callables.items():
            seconds[name].append(seconds_of(call, device))
    return {name: statistics.median(taken[warmup:]) for name, taken in seconds.items()}


@dataclass(frozen=True)
class Paired:
    """Times of two callables that were called in pairs."""

    first: float  # median seconds of the first
    second: float  # median seconds of the second
    ratio: float  # median over the pairs of the second's time over the first's
    low: float  # lower end of the 95 % confidence interval of `ratio`
    high: float  # upper end

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
    """Time both once per round, after a warm-up, until the confidence interval of the median ratio is narrow enough.

    The order within a pair alternates. ``within`` is the largest distance of the interval's ends from the ratio, of the
    second's time over the first's, as a share of it. There are ``least`` to ``most`` rounds. The device is synchronised
    before and after each call.

    Example:
        >>> paired(list, dict, within=0.05, least=3, most=3).first > 0
        True
    """
    check_at_least("most", most, 1)
    for _ in range(WARMUP):
        first()
        second()
    rounds: list[tuple[float, float]] = []
    result = None
    while result is None or (len(rounds) < most and not (len(rounds) >= least and result.within(within))):
        if len(rounds) % 2:
            b, a = seconds_of(second, device), seconds_of(first, device)
        else:
            a, b = seconds_of(first, device), seconds_of(second, device)
        rounds.append((a, b))
        ratios = [b / a for a, b in rounds]
        firsts, seconds = (statistics.median(taken) for taken in zip(*rounds, strict=True))
        result = Paired(firsts, seconds, statistics.median(ratios), *median_interval(ratios))
    return result


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the distribution-free 95 % confidence interval of the median; for few values, their range.

    Example:
        >>> median_interval(range(100)), median_interval([3.0, 1.0, 2.0])
        ((39, 60), (1.0, 3.0))
    """
    ordered = sorted(values)
    outside = max(0, math.floor(len(ordered) / 2 - 0.98 * math.sqrt(len(ordered))) - 1)
    return ordered[outside], ordered[-1 - outside]


def seconds_of(call: Callable[[], object], device: torch.device | str = "cpu") -> float:
    """Return the seconds that a call takes, including its work on the device."""
    _synchronize(device)
    start = time.perf_counter()
    call()
    _synchronize(device)
    return time.perf_counter() - start


def _synchronize(device: torch.device | str) -> None:
    kind = torch.device(device).type
    if kind != "cpu":
        torch.get_device_module(kind).synchronize()
