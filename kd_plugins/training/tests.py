"""Tests of student and teacher on the test images, none of them twice."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from ..config.build import build_test_loader
from ..config.config import Config
from ..models.fingerprint import fingerprint
from ..runtime.checkpoint import load_best
from ..runtime.distributed import Processes
from ..runtime.evaluate import evaluate
from ..runtime.metrics import ACCURACY
from ..runtime.tasks import task_of
from ..statistics.kept_random import random_numbers_kept
from .state import Progress
from .teacher_scores import teacher_scores

Scores = dict[str, Any]


class Tests:
    """The tests of a run, on ``val_loader`` where the config has no test set, and none without ``test``.

    The student is also tested ``every`` so many epochs; 0 for never.
    """

    def __init__(
        self,
        config: Config,
        built: Mapping[str, Any],
        procs: Processes,
        *,
        folder: Path,
        val_loader: Any,
        test: bool,
        every: int,
    ) -> None:
        self.config, self.built, self.procs, self.folder, self.every = config, built, procs, folder, every
        self.wanted = test
        self.loader = build_test_loader(built, procs, fallback=val_loader) if test else None
        self.metric = built.get("metric", ACCURACY)
        for measured in (val_loader, self.loader):
            if measured is not None:
                task_of(measured).require()

    def student(self, model: nn.Module, title: str) -> Scores | None:
        """Return the scores of a model; None without a test set."""
        if self.loader is None:
            return None
        return evaluate(model, self.loader, self.procs, title=title, metric=self.metric)

    def during_training(self, student: nn.Module, epoch: int) -> tuple[dict[str, Scores], float]:
        """Return ``{"test": scores}`` after every so many epochs, else ``{}``, and the seconds that it took.

        The random generators do not change, so training stays the same.
        """
        if self.loader is None or not self.every or epoch % self.every:
            return {}, 0.0
        began = time.perf_counter()
        with random_numbers_kept(self.procs.device):
            scores = evaluate(student, self.loader, self.procs, title="test", metric=self.metric)
        return {"test": scores}, time.perf_counter() - began

    def best_and_last(
        self, student: nn.Module, progress: Progress, history: Sequence[Mapping[str, Any]]
    ) -> tuple[Scores | None, Scores | None]:
        """Return the scores of the best and of the last epoch; the student then has the best weights."""
        known = {line["epoch"]: line["test"] for line in history if "test" in line} if self.loader is not None else {}
        if progress.epoch not in known:
            known[progress.epoch] = self.student(student, "last")
        student.load_state_dict(load_best(self.folder)["model"])
        if progress.best_epoch not in known:
            known[progress.best_epoch] = self.student(student, "best")
        return known[progress.best_epoch], known[progress.epoch]

    def teacher(self, teacher: nn.Module | None, before: Scores | None) -> Scores | None:
        """Return the teacher's scores: ``before``, if its weights are still the same; None without teacher or test set.

        ``weights`` in the result is the fingerprint of the teacher.
        """
        if teacher is None or self.loader is None:
            return None
        if before is not None and before["weights"] == fingerprint(teacher):
            return before
        return teacher_scores(
            self.config, self.built, teacher, self.loader, self.procs, folder=self.folder, metric=self.metric
        )
