"""Tests of student and teacher on the test images, none of them twice.

A teacher's scores are kept beside the run folders, for the other runs that it teaches.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..config.build import build_test_loader, evaluation_teacher
from ..config.config import Config
from ..config.leaves import leaves
from ..data.unaugmented import description_of
from ..models.fingerprint import fingerprint, tensors_fingerprint
from ..runtime.checkpoint import load_best, write_text
from ..runtime.checksums import DamagedFileError, read_sealed_json, sealed_json
from ..runtime.distributed import Processes
from ..runtime.environment import environment
from ..runtime.evaluate import evaluate
from ..runtime.metrics import ACCURACY
from ..runtime.tasks import task_of
from ..statistics.kept_random import random_numbers_kept
from .identity import may_change
from .state import Progress

Scores = dict[str, Any]
FILE = "teacher_scores.json"


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
        """Return the scores of a teacher as the student sees it; None without teacher or test set.

        They are ``before``, if its weights are still the same, or read from ``teacher_scores.json``, if another run
        measured them on the same images. The random generators do not change, so all ways train alike. ``weights`` in
        the result is the fingerprint of the teacher.
        """
        if teacher is None or self.loader is None:
            return None
        weights = fingerprint(teacher)
        if before is not None and before["weights"] == weights:
            return before
        file = self.folder.resolve().parent / FILE
        with random_numbers_kept(self.procs.device):
            key, found = "", None
            if self.procs.is_main:
                key = self._key(weights, self.loader.dataset)
                found = _read(file).get(key)
            found = self.procs.from_main(found)
            if found is None:
                seen = evaluation_teacher(self.built, teacher, self.procs)
                found = evaluate(seen, self.loader, self.procs, title="teacher", metric=self.metric)
                if self.procs.is_main:
                    text = sealed_json({**_read(file), key: found})
                    with suppress(OSError):  # the folder may be read-only; the next run then measures again
                        write_text(file, text)
        return {**found, "weights": weights}

    def _key(self, weights: str, dataset: Any) -> str:
        """Return a hash of all that the scores depend on: weights, preprocessing, images, metric and versions."""
        count = len(dataset)
        sections = [
            [*path, text]
            for path, text in leaves(self.config.root)
            if {"teacher", "teacher_model"} & set(path) and not may_change(path)
        ]
        samples = [_sample(dataset[index]) for index in sorted({0, count // 2, count - 1})] if count else []
        surroundings = {name: value for name, value in environment(self.procs.device).items() if name != "threads"}
        parts = [weights, sections, description_of("test", dataset), count, samples, self.metric, surroundings]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _sample(sample: Any) -> list[str]:
    image, label, *_ = sample
    return [tensors_fingerprint([("image", torch.as_tensor(image))]), str(label)]


def _read(file: Path) -> dict[str, Any]:
    """Return the scores in the file by key; a missing or damaged file has none."""
    try:
        return read_sealed_json(file)
    except (DamagedFileError, OSError):
        return {}
