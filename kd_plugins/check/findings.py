"""The findings of a check and their table."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from .._errors import explain
from ..config.config import Config

ERROR, WARNING, FINE = "error", "warning", "ok"
_PLACE = re.compile(r" at (\S+) \(line (\d+)\)")
_POSITION = re.compile(r"^line (\d+), column \d+: ")


@dataclass(frozen=True)
class Finding:
    """One line of a check.

    Attributes:
        level: ``"error"``, ``"warning"`` or ``"ok"``.
        message: what was found, and for an error or warning what to do.
        place: YAML path; ``""`` for a finding about the whole config.
        line: line in the config file, counted from 1, or None.
    """

    level: str
    message: str
    place: str = ""
    line: int | None = None

    def text(self) -> str:
        """Return the message and its place."""
        return f"{self.message} at {self.place} (line {self.line})" if self.place else self.message


class Findings(list[Finding]):
    """The findings about one config, in the order in which they were added."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config

    def add(self, level: str, message: str, *path: object) -> None:
        """Add a finding at a YAML path."""
        line = int(self.config.where(*path).rsplit("line ", 1)[1].rstrip(")")) if path else None
        found = Finding(level, message, ".".join(map(str, path)), line)
        if found not in self:  # a section rule and a step rule may report the same
            self.append(found)

    def error(self, message: str, *path: object) -> None:
        """Add an error: the config cannot work, or would not do what it says."""
        self.add(ERROR, message, *path)

    def warning(self, message: str, *path: object) -> None:
        """Add a warning: the config works, but is probably a mistake."""
        self.add(WARNING, message, *path)

    def fine(self, message: str, *path: object) -> None:
        """Add a passed check."""
        self.add(FINE, message, *path)

    def failure(self, error: BaseException, *path: object) -> None:
        """Add a raised error; a place named in its message becomes the place of the finding."""
        message = str(error).removeprefix(f"{self.config.path}: ")
        named, position = _PLACE.search(message), _POSITION.search(message)
        if named:
            self.append(Finding(ERROR, _PLACE.sub("", message, count=1), named[1], int(named[2])))
        elif position:
            self.append(Finding(ERROR, message, "", int(position[1])))
        else:
            self.error(message, *path)

    def unread(self, paths: Iterable[Sequence[object]]) -> None:
        """Add a warning for each key that nothing reads."""
        for path in paths:
            if not self.config.is_referred_to(*path):  # --fake-data may drop the part that refers to it
                self.warning(f"key {path[-1]!r} is not used here: remove it", *path)

    @contextmanager
    def caught(self, *path: object) -> Iterator[None]:
        """Turn any exception of the block into an error, so that the check goes on."""
        try:
            yield
        except Exception as error:
            if os.environ.get("KD_PLUGINS_TRACEBACK"):
                raise
            self.failure(error if isinstance(error, ValueError) else ValueError(explain(error)), *path)

    @property
    def failed(self) -> bool:
        """Whether there is an error."""
        return any(finding.level == ERROR for finding in self)


def format_findings(findings: Sequence[Finding]) -> str:
    """Return the findings as a table, errors first.

    Example:
        >>> print(format_findings([Finding("ok", "2 models"), Finding("error", "lr is 0", "train.optimizer", 7)]))
        error    line 7   train.optimizer: lr is 0
        ok                2 models
    """
    order = (ERROR, WARNING, FINE)
    lines = []
    for finding in sorted(findings, key=lambda f: order.index(f.level)):
        line = "" if finding.line is None else f"line {finding.line}"
        place = f"{finding.place}: " if finding.place else ""
        lines.append(f"{finding.level:<7}  {line:<8} {place}{finding.message}")
    return "\n".join(lines)
