"""The tasks of a training: classification and detection.

A loader's collate function tells the task. Its first target would, too, but loading it would draw random numbers.
"""

from __future__ import annotations

from typing import Any

from ...data.detection import collate_detection
from .classification import Classification
from .detection import Detection
from .task import Task

CLASSIFICATION, DETECTION = Classification(), Detection()


def task_of(loader: Any) -> Task:
    """Return the task of a data loader."""
    return DETECTION if getattr(loader, "collate_fn", None) is collate_detection else CLASSIFICATION


def task_named(collate: object) -> Task:
    """Return the task of a config's loader, from the name of its collate function.

    Example:
        >>> task_named("collate_detection").name, task_named(None).name
        ('detection', 'classification')
    """
    return DETECTION if collate == collate_detection.__name__ else CLASSIFICATION


__all__ = ["CLASSIFICATION", "DETECTION", "Task", "task_named", "task_of"]
