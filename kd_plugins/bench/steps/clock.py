"""Durations of the named parts of a repeated computation."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

BETWEEN = "between the parts"


class Clock:
    """Measures named sections of laps, of which the first ``warmup`` ones do not count.

    On CUDA, events in the stream give a section's time on the device. They are read when the lap ends, so measuring
    does not synchronise within a lap.

    Attributes:
        laps: seconds by section, one dict per lap; sections of the same name in a lap are added.
        watch: called with ``BETWEEN`` before each section, and with the section's name after it.

    Example:
        >>> clock = Clock("cpu")
        >>> with clock.section("sleep"):
        ...     time.sleep(0.01)
        >>> clock.end_lap()
        >>> clock.laps[0]["sleep"] >= 0.01
        True
    """

    def __init__(self, device: torch.device | str, *, warmup: int = 0) -> None:
        self.warmup = warmup
        self.on_cuda = torch.device(device).type == "cuda"
        self.laps: list[dict[str, float]] = []
        self.watch: Callable[[str], None] = lambda _name: None
        self._begun: dict[str, Any] = {}
        self._sections: list[tuple[str, Any, Any]] = []

    @contextmanager
    def section(self, name: str) -> Iterator[None]:
        """Measure the block."""
        self.begin(name)
        try:
            yield
        finally:
            self.end(name)

    def begin(self, name: str) -> None:
        """Begin a section; sections of other names may be open."""
        self.watch(BETWEEN)
        self._begun[name] = self._mark()

    def end(self, name: str) -> None:
        """End the section of this name."""
        self._sections.append((name, self._begun.pop(name), self._mark()))
        self.watch(name)

    def end_lap(self) -> None:
        """Add the sections since the last lap to ``laps``."""
        if self.on_cuda:
            torch.cuda.synchronize()
        lap: dict[str, float] = {}
        for name, begin, end in self._sections:
            seconds = begin.elapsed_time(end) / 1e3 if self.on_cuda else end - begin
            lap[name] = lap.get(name, 0.0) + seconds
        self._sections.clear()
        self.laps.append(lap)

    def measured(self, rounds: int) -> list[dict[str, float]]:
        """Return that many laps after the warm-up."""
        return self.laps[self.warmup : self.warmup + rounds]

    def _mark(self) -> Any:
        if not self.on_cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event
