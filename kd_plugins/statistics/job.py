"""Job that fits or checks one statistics file."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn
from torch.utils.data import Dataset

from .artefact import StatisticsError, check_statistics, mismatches, read_tensors
from .fitting import Request, Settings, fit_statistics
from .teacher_features import TeacherFeatures
from .versions import versions

DEFAULT_BUDGET = 2 << 30
"""Bytes of memory for features."""

logger = logging.getLogger(__name__)


@dataclass
class Job:
    """One statistics file, with its parts and the metadata that a matching file has."""

    path: Path
    automatic: bool  # whether training fits it (statistics: auto)
    seed: int
    teachers: list[nn.Module] = field(default_factory=list)  # wrapped ones, kept alive because their hooks are
    requests: dict[str, Request] = field(default_factory=dict)  # by kind
    expected: dict[str, str] = field(default_factory=dict)  # metadata of a matching file

    def add(
        self, kind: str, stream: TeacherFeatures, settings: Settings, *, told: dict[str, str], layer: str, io: str
    ) -> list[str]:
        """Add one kind of statistics, unless its metadata contradict those of the kinds before; return their names.

        ``told`` are the metadata of teacher and data set, ``layer`` and ``io`` the place of the features.
        """
        shape = stream.shape
        entries = {
            **told,
            "images": str(shape.images),
            "num_classes": str(stream.classes),
            f"{kind}.layer": layer,
            f"{kind}.io": io,
            f"{kind}.map_size": f"{shape.height}x{shape.width}",
            f"{kind}.positions": str(shape.rows),
            f"{kind}.channels": str(shape.channels),
        }
        if kind == "penultimate":
            entries["penultimate.num_centres"] = str(settings.num_centres)
        else:
            entries["intermediate.subclasses"] = str(settings.subclasses)
            entries["intermediate.components"] = str(settings.components or "default")
            entries["intermediate.pca"] = str(settings.pca or "none")
        differ = [name for name, value in entries.items() if self.expected.get(name, value) != value]
        if not differ:
            self.expected |= entries
            self.requests[kind] = Request(stream, stream.classes, settings)
        return differ

    def check(self) -> None:
        """Raise ``StatisticsError`` unless the file exists and matches."""
        check_statistics(read_tensors(self.path)[1], self.expected, source=self.path)

    def fit(self, *, budget: int = DEFAULT_BUDGET, cache: str = "auto") -> None:
        """Fit and write the file."""
        told = {f"versions.{name}": version for name, version in versions().items()}
        metadata = {**self.expected, "kinds": ",".join(self.requests), "seed": str(self.seed), **told}
        fit_statistics(self.path, self.requests, metadata, seed=self.seed, budget=budget, cache=cache)

    def fit_unless_there(self) -> None:
        """Fit and write the file, unless a matching one exists."""
        if self.path.is_file():
            try:
                differ = mismatches(read_tensors(self.path)[1], self.expected)
            except StatisticsError as error:
                differ = [str(error)]
            if not differ:
                return
            logger.warning("%s is fitted again: %s", self.path, "; ".join(differ))
        self.fit()

    def summary(self) -> str:
        """Return a description of the file's contents."""
        return "; ".join(
            f"{kind} {self.expected[f'{kind}.layer']}, {request.stream.shape.rows:,} positions of "
            f"{request.stream.shape.channels} channels"
            for kind, request in self.requests.items()
        )


def features_of(teacher: nn.Module, layer: nn.Module, dataset: Dataset, **kwargs: Any) -> TeacherFeatures:
    """Return the features of a teacher's layer; raise ``StatisticsError`` for a teacher without logits."""
    stream = TeacherFeatures(teacher, layer, dataset, **kwargs)
    if not stream.classes:
        raise StatisticsError(
            "the teacher must return logits of shape (B, C); if it returns several outputs, select the logits with "
            "the keyword logits (a key or an index) of FrozenTeacher or frozen_teacher"
        )
    return stream
