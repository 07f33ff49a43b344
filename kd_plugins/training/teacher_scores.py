"""The test scores of a teacher, which are measured once and kept beside the run folders."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from ..config.build import evaluation_teacher
from ..config.config import Config
from ..config.leaves import leaves
from ..data.unaugmented import description_of
from ..models.fingerprint import fingerprint, tensors_fingerprint
from ..runtime.checkpoint import write_atomically
from ..runtime.checksums import DamagedFileError, read_sealed_json, sealed_json
from ..runtime.distributed import Processes
from ..runtime.environment import environment
from ..runtime.evaluate import evaluate
from ..statistics.kept_random import random_numbers_kept
from .identity import may_change

FILE = "teacher_scores.json"


def teacher_scores(
    config: Config,
    built: Mapping[str, Any],
    teacher: nn.Module,
    loader: DataLoader,
    procs: Processes,
    *,
    folder: Path,
    metric: str,
) -> dict[str, Any]:
    """Return the scores of the teacher as the student sees it, and the fingerprint of its weights as ``weights``.

    Scores that another run measured on the same images are read from ``teacher_scores.json`` beside the run's
    ``folder``. The random generators do not change, so both ways train alike. ``teacher`` is without its wrapper,
    ``loader`` that of the test set, and ``metric`` a key of :data:`~kd_plugins.runtime.metrics.METRICS`.
    """
    weights = fingerprint(teacher)
    file = folder.resolve().parent / FILE
    with random_numbers_kept(procs.device):
        key, found = "", None
        if procs.is_main:
            key = _key(config, weights, loader, procs, metric)
            found = _read(file).get(key)
        found = procs.from_main(found)
        if found is None:
            seen = evaluation_teacher(built, teacher, procs)
            found = evaluate(seen, loader, procs, title="teacher", metric=metric)
            if procs.is_main:
                _remember(file, key, found)
    return {**found, "weights": weights}


def _key(config: Config, weights: str, loader: DataLoader, procs: Processes, metric: str) -> str:
    """Return a hash of all that the scores depend on: weights, preprocessing, images, metric and versions."""
    dataset: Any = loader.dataset
    count = len(dataset)
    sections = [
        [*path, text]
        for path, text in leaves(config.root)
        if {"teacher", "teacher_model"} & set(path) and not may_change(path)
    ]
    samples = [_sample(dataset[index]) for index in sorted({0, count // 2, count - 1})] if count else []
    surroundings = {name: value for name, value in environment(procs.device).items() if name != "threads"}
    parts = [weights, sections, description_of("test", dataset), count, samples, metric, surroundings]
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


def _remember(file: Path, key: str, scores: Mapping[str, Any]) -> None:
    text = sealed_json({**_read(file), key: scores})
    with suppress(OSError):  # the folder may be read-only; the next run then measures again
        write_atomically(file, lambda path: path.write_text(text, encoding="utf-8"))
