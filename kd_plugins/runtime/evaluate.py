"""Evaluate a model on a loader, in float32 and over all processes."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from ..data.loading import batches, to_device
from .distributed import Processes, own_samples, unwrapped
from .failures import explained
from .metrics import ACCURACY
from .tasks import task_of


@torch.inference_mode()
def evaluate(
    model: nn.Module, loader: DataLoader, processes: Processes, *, title: str = "test", metric: str = ACCURACY
) -> dict[str, float]:
    """Return the scores of a classifier or a detector.

    The model runs in eval mode and float32, whatever its training precision; its mode is restored.

    Args:
        model: maps a batch (B, c, H, W) to logits (B, C), or a list of images to detections.
        loader: yields ``(batch, labels)``, or ``(batch, labels, supplement)``; its collate function tells the task.
        processes: the processes of the run; each evaluates a shard, all get the total.
        title: title of the progress bar.
        metric: a key of :data:`~kd_plugins.runtime.metrics.METRICS`.

    Returns:
        ``top1`` and, with at least five classes, ``top5`` in percent, ``nll`` (mean negative log-likelihood) in nats
        and ``ece`` (expected calibration error) in percent; or ``map`` (mean average precision) in percent with the
        metric ``"multilabel"``; and ``samples``. For a detector, see
        :func:`~kd_plugins.metrics.average_precision.box_average_precision`.

    Raises:
        ValueError: if the output is not one of the task's or the labels do not suit the metric.
    """
    model = unwrapped(model)
    was_training = model.training
    model.eval()
    name = type(model).__name__
    task = task_of(loader)
    scores = task.scores(metric, processes.device, name)
    left = own_samples(loader)
    quiet = None if processes.is_main else True
    bar = tqdm(batches(loader), total=len(loader), desc=title, leave=False, disable=quiet, unit="batch")
    for batch, labels, *_ in bar:
        if left is not None:
            batch, labels = batch[:left], labels[:left]
            left -= len(labels)
        if not len(labels):
            continue
        with explained(f"{name} on a batch of shape {task.shape(batch)}"):
            outputs = model(to_device(batch, processes.device))
        scores.add(task.checked(outputs, name), labels)
    model.train(was_training)
    return scores.result(processes)
