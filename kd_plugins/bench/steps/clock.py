"""Durations of the named parts of something that is repeated."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


class Clock:
    """Measures named sections of laps.

    On CUDA a section's time is the device's, from events in its stream: nothing is waited for before the lap ends, so
    that measuring changes nothing.

    Args:
        device: where the work is done.
        warmup: number of laps at the beginning that do not count.

    Attributes:
        laps: seconds by section, one dict a lap; what a lap does twice is added up.

    Example:
        >>> clock = Clock("cpu")
        >>> with clock.section("sleep"):
        ...     time.sleep(0.01)
        >>> clock.end_lap()
        >>> round(clock.laps[0]["sleep"], 2)
        0.01
    """

    def __init__(self, device: torch.device | str, *, warmup: int = 0) -> None:
        self.warmup = warmup
        self.on_cuda = torch.device(device).type == "cuda"
        self.laps: list[dict[str, float]] = []
        self._begun: dict[str, Any] = {}
        self._sections: list[tuple[str, Any, Any]] = []

    @contextmanager
    def section(self, name: str) -> Iterator[None]:
        """Measure what is done inside the context."""
        self.begin(name)
        try:
            yield
        finally:
            self.end(name)

    def begin(self, name: str) -> None:
        """Begin a section; sections of other names may be open."""
        self._begun[name] = self._mark()

    def end(self, name: str) -> None:
        """End the section of this name."""
        self._sections.append((name, self._begun.pop(name), self._mark()))

    def end_lap(self) -> None:
        """Add what was measured since the last lap to ``laps``."""
        if self.on_cuda:
            torch.cuda.synchronize()
        lap: dict[str, float] = {}
        for name, begin, end in self._sections:
            seconds = begin.elapsed_time(end) / 1e3 if self.on_cuda else end - begin
            lap[name] = lap.get(name, 0.0) + seconds
        self._sections.clear()
        self.laps.append(lap)

    def measured(self, rounds: int) -> list[dict[str, float]]:
        """Return the laps of the rounds that count, those after the warm-up; what comes later is left out too."""
        return self.laps[self.warmup : self.warmup + rounds]

    def _mark(self) -> Any:
        if not self.on_cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event
