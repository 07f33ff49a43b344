"""Mapping of captured tensors that records which ones a loss reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


class Watched(Mapping[str, Any]):
    """Captured tensors of one module, as in an io dict; records the keys that are read.

    Args:
        captured: ``"input"`` or ``"output"`` -> value.

    Attributes:
        asked: the keys that were looked up.

    Example:
        >>> entry = Watched({"input": 1, "output": 2})
        >>> entry["output"], entry.asked
        (2, {'output'})
    """

    def __init__(self, captured: Mapping[str, Any]) -> None:
        self.captured = captured
        self.asked: set[str] = set()

    def __getitem__(self, io: str) -> Any:
        self.asked.add(io)
        return self.captured[io]

    def __iter__(self) -> Iterator[str]:
        return iter(self.captured)

    def __len__(self) -> int:
        return len(self.captured)
