"""Find images that are in both the training and the evaluation set, by file, index or content."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import Subset

from ...data.inside import WRAPPED
from ..findings import Findings

MOST_FILES = 2000
"""Largest number of files to compare byte by byte; only files of equal size are compared."""

COPIES = 0.01
"""Smallest fraction of copies to report: public data sets contain a few duplicates."""


def check_shared_images(findings: Findings, trained: Any, measured: Any, at: tuple[object, ...]) -> None:
    """Add an error if evaluation images are in the training set; ``at`` is the place of the evaluation loader."""
    own, others = _identities(measured), _identities(trained)
    if own is None or others is None:
        return
    seen = set(others)
    shared = sum(identity in seen for identity in own)
    by_content = bool(own) and isinstance(own[0], bytes)
    if not shared:
        shared, by_content = _copies(own, others), True
    if shared and not (by_content and shared < COPIES * len(own)):
        message = f"{shared} of {len(own)} evaluation images are also training images: keep each image in one set only"
        findings.error(message, *at, "dataset_id")


def _identities(data: Any) -> list[Hashable] | None:
    """Return an identity for each image, or None if the data set gives none."""
    if isinstance(data, Subset):
        inside = _identities(data.dataset)
        return None if inside is None else [inside[index] for index in data.indices]
    for name in WRAPPED:
        if hasattr(getattr(data, name, None), "__getitem__"):
            return _identities(getattr(data, name))
    paths = _paths(data)
    if paths is not None:
        return [os.path.abspath(path) for path in paths]
    pixels = _pixels(data)
    if pixels is not None:
        return [hashlib.sha1(image.tobytes(), usedforsecurity=False).digest() for image in pixels]
    return [(id(data), index) for index in range(len(data))] if hasattr(data, "__len__") else None


def _paths(data: Any) -> list[str] | None:
    found = getattr(data, "samples", None) or getattr(data, "paths", None)
    if not isinstance(found, (list, tuple)) or not found:
        return None
    first = [item[0] if isinstance(item, (list, tuple)) else item for item in found]
    return [str(path) for path in first] if all(isinstance(path, (str, Path)) for path in first) else None


def _pixels(data: Any) -> Any:
    """Return the images that a data set holds in memory, as one array."""
    for name in ("data", "x", "images"):
        found = getattr(data, name, None)
        if isinstance(found, Tensor):
            found = found.numpy()
        if isinstance(found, np.ndarray) and found.ndim >= 3 and len(found) == len(data):
            return found
    return None


def _copies(measured: list[Hashable], trained: list[Hashable]) -> int:
    """Return how many evaluation files equal a training file byte for byte."""
    groups: dict[int, list[list[str]]] = defaultdict(lambda: [[], []])
    for side, identities in enumerate((measured, trained)):
        for path in identities:
            if isinstance(path, str) and os.path.isfile(path):
                groups[os.path.getsize(path)][side].append(path)
    copies = looked_at = 0
    for own, others in groups.values():
        if not own or not others:
            continue
        looked_at += len(own) + len(others)
        if looked_at > MOST_FILES:
            break
        known = {_digest(path) for path in others}
        copies += sum(_digest(path) in known for path in own)
    return copies


def _digest(path: str) -> bytes:
    return hashlib.sha1(Path(path).read_bytes(), usedforsecurity=False).digest()
