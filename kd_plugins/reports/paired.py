"""The gain of one method over another, paired by seed, with a confidence interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Gain:
    """A mean difference over the seeds that two configs share."""

    mean: float  # in the unit of the values
    low: float | None  # lower end of the 95 % interval; None with one seed
    high: float | None  # upper end of it
    seeds: int  # number of shared seeds

    @property
    def within_noise(self) -> bool:
        """Whether the interval holds 0, or there is none."""
        return self.low is None or self.high is None or self.low <= 0 <= self.high

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.mean:+.2f}"
        return f"{self.mean:+.2f} [{self.low:+.2f}, {self.high:+.2f}]"


def paired_gain(values: Mapping[int, float], baseline: Mapping[int, float]) -> Gain | None:
    """Return the mean of ``values - baseline``, both by seed, over the shared seeds; None where they share none.

    The interval is Student's t interval of the differences: the seeds fix data order and initial weights of both runs,
    so differences vary less than the values.

    Example:
        >>> gain = paired_gain({0: 76.0, 1: 77.0, 2: 76.6}, {0: 75.0, 1: 75.6, 2: 75.8, 3: 74.0})
        >>> print(gain, gain.within_noise)
        +1.07 [+0.31, +1.83] False
    """
    shared = sorted(set(values) & set(baseline))
    if not shared:
        return None
    differences = [values[seed] - baseline[seed] for seed in shared]
    middle = mean(differences)
    half = half_interval(differences)
    low, high = (None, None) if half is None else (middle - half, middle + half)
    return Gain(middle, low, high, len(shared))


def half_interval(values: Sequence[float]) -> float | None:
    """Return half the width of the 95 % t interval of a mean; None for a single value.

    Example:
        >>> round(half_interval([1.0, 2.0, 3.0]), 3)  # 4.303 * 1 / sqrt(3)
        2.484
    """
    if len(values) < 2:
        return None
    from scipy.stats import t

    return float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * stdev(values) / len(values) ** 0.5
