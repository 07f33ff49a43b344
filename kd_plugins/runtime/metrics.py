"""Classification metrics: accuracy with calibration, and mean average precision for several labels per image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .._checks import index_labels
from ..metrics.calibration import BINS, calibration, calibration_sums
from .distributed import Processes

ACCURACY, MULTILABEL = "accuracy", "multilabel"
TOP5_CLASSES = 5
EMPTY = "the evaluation loader is empty; check its data set and drop_last"
SCORES = {
    "top1": "top-1",
    "top5": "top-5",
    "map": "mAP",
    "ap": "AP",
    "ap50": "AP50",
    "ap75": "AP75",
    "ap_small": "APs",
    "ap_medium": "APm",
    "ap_large": "APl",
}
"""Score -> label in reports. The first score in a result selects the best checkpoint."""


def main_score(result: Mapping[str, float]) -> float:
    """Return the score that selects the best checkpoint.

    Example:
        >>> main_score({"top1": 75.0, "top5": 100.0, "samples": 4}), main_score({"map": 50.0, "samples": 4})
        (75.0, 50.0)
    """
    return result[main_name(result)]


def main_name(result: Mapping[str, float]) -> str:
    """Return the name of the score that selects the best checkpoint."""
    return next(name for name in SCORES if name in result)


def score_texts(result: Mapping[str, Any]) -> str:
    """Return the scores with their labels; a score that is None, such as AP without small objects, is ``-``.

    Example:
        >>> score_texts({"ap": 37.0, "ap50": 58.125, "ap_small": None})
        'AP 37.00, AP50 58.12, APs -'
    """
    found = {label: result[name] for name, label in SCORES.items() if name in result}
    return ", ".join(f"{label} -" if score is None else f"{label} {score:.2f}" for label, score in found.items())


class Accuracy:
    """Top-1 and top-5 accuracy, negative log-likelihood and expected calibration error.

    The device is not synchronised before :meth:`result`. Messages name the ``model``.
    """

    def __init__(self, device: torch.device, model: str) -> None:
        self.model, self.classes = model, 0
        self.counts = torch.zeros(4, dtype=torch.int64, device=device)  # top-1, top-5, samples, labels out of range
        self.calibration = torch.zeros(4, BINS, dtype=torch.float64, device=device)

    def add(self, logits: Tensor, labels: Any) -> None:
        """Add logits (B, C) and class indices (B,).

        Raises:
            ValueError: if the labels are not class indices.
        """
        labels = index_labels(labels, batch=len(logits)).to(logits.device, non_blocking=True)
        self.classes = logits.shape[1]
        hits = logits.topk(min(TOP5_CLASSES, self.classes), dim=1).indices == labels[:, None]
        bad = (labels < 0) | (labels >= self.classes)
        size = torch.tensor(len(labels), device=logits.device)
        self.counts += torch.stack([hits[:, 0].sum(), hits.any(1).sum(), size, bad.sum()])
        self.calibration += calibration_sums(logits, labels)

    def result(self, processes: Processes) -> dict[str, float]:
        """Return ``top1`` and ``top5`` (with at least five classes) in percent, ``nll``, ``ece`` and ``samples``.

        ``nll`` is in nats, ``ece`` in percent over 15 bins, see :func:`~kd_plugins.metrics.calibration.calibration`.

        Raises:
            ValueError: if a label is out of range or there are no samples.
        """
        top1, top5, samples, bad = processes.sum(self.counts).tolist()
        if bad:
            raise ValueError(
                f"{bad} of {samples} labels are outside the {self.classes} classes of {self.model}; set num_classes in "
                "the model's kwargs"
            )
        if not samples:
            raise ValueError(EMPTY)
        result = {"top1": 100.0 * top1 / samples}
        if self.classes >= TOP5_CLASSES:
            result["top5"] = 100.0 * top5 / samples
        return {**result, **calibration(processes.sum(self.calibration)), "samples": samples}


class MeanAveragePrecision:
    """Average precision in percent, averaged over classes, for images with several labels; kept on the CPU."""

    def __init__(self, device: torch.device, model: str) -> None:
        self.model = model
        self.logits: list[Tensor] = []
        self.labels: list[Tensor] = []

    def add(self, logits: Tensor, labels: Any) -> None:
        """Add logits (B, C) and labels (B, C) of zeros and ones.

        Raises:
            ValueError: for other labels.
        """
        if not isinstance(labels, Tensor) or labels.shape != logits.shape:
            found = f"shape {tuple(labels.shape)}" if isinstance(labels, Tensor) else type(labels).__name__
            raise ValueError(
                f"metric: multilabel needs a 0 or 1 for each of the {logits.shape[1]} classes of {self.model}: labels "
                f"of shape {tuple(logits.shape)}, found {found}; remove metric for one class index per image"
            )
        labels = labels.cpu()
        if not bool(((labels == 0) | (labels == 1)).all()):
            raise ValueError("metric: multilabel needs labels of zeros and ones, found other values")
        self.logits.append(logits.float().cpu())
        self.labels.append(labels.to(torch.uint8))

    def result(self, processes: Processes) -> dict[str, float]:
        """Return ``map`` over the classes with at least one image, and ``samples``.

        Raises:
            ValueError: if there are no samples or no image has a label.
        """
        from sklearn.metrics import average_precision_score

        own = (torch.cat(self.logits), torch.cat(self.labels)) if self.logits else None
        parts = [part for part in processes.from_main(processes.gather(own)) if part is not None]
        if not parts:
            raise ValueError(EMPTY)
        logits, labels = (torch.cat([part[side] for part in parts]).numpy() for side in (0, 1))
        there = labels.any(axis=0)
        if not there.any():
            raise ValueError("metric: multilabel: no image has a label, so average precision is undefined")
        value = average_precision_score(labels[:, there], logits[:, there], average="macro")
        return {"map": 100.0 * float(value), "samples": len(labels)}


METRICS: dict[str, type[Accuracy | MeanAveragePrecision]] = {ACCURACY: Accuracy, MULTILABEL: MeanAveragePrecision}
"""Values of ``metric:`` in a config."""
