"""Detection: a batch is a list of images, a target a dictionary of boxes and labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from ...data.detection import collate_detection
from ...metrics.average_precision import ImageBoxes, box_average_precision, require_pycocotools
from ..distributed import Processes
from ..metrics import ACCURACY, EMPTY
from .task import Task

ANSWER = ("boxes", "labels", "scores")


class Detection(Task):
    """Images with boxes."""

    name = "detection"
    background = 1
    most_images = 2

    @property
    def collate(self) -> Callable[[Any], Any]:
        """The collate function of detection, which checks every target."""
        return collate_detection

    def require(self) -> None:
        """Raise ``ValueError`` if pycocotools is not installed."""
        require_pycocotools()

    def shape(self, batch: Any) -> tuple[int, ...]:
        """Return the number of images and the shape of the first."""
        return (len(batch), *batch[0].shape)

    def scores(self, metric: str, device: torch.device, model: str) -> DetectionScores:
        """Return the counts of an evaluation."""
        if metric != ACCURACY:
            raise ValueError(f"metric: {metric} is for classification: remove it, detection is measured by COCO's AP")
        return DetectionScores()

    def checked(self, outputs: Any, model: str) -> Any:
        """Return a list of detections, one dictionary per image."""
        wanted = isinstance(outputs, list) and all(isinstance(one, Mapping) and {*ANSWER} <= {*one} for one in outputs)
        if not wanted:
            raise ValueError(
                f"{model} must return a list with boxes, labels and scores of every image to be evaluated, found "
                f"{type(outputs).__name__}"
            )
        return outputs

    def own_loss(self, model: nn.Module, images: Any, targets: Any) -> Tensor:
        """Return the sum of the detector's losses."""
        return torch.stack(list(model(images, targets).values())).sum()


class DetectionScores:
    """COCO's average precision of boxes."""

    def __init__(self) -> None:
        require_pycocotools()
        self.found: list[ImageBoxes] = []
        self.truth: list[ImageBoxes] = []

    def add(self, outputs: Sequence[Mapping[str, Tensor]], targets: Sequence[Mapping[str, Tensor]]) -> None:
        """Add detections and targets of some images."""
        for output, target in zip(outputs, targets, strict=True):
            image_id = int(target["image_id"])
            self.found.append(_arrays(image_id, output, *ANSWER))
            self.truth.append(_arrays(image_id, target, "boxes", "labels", "area", "iscrowd"))

    def result(self, processes: Processes) -> dict[str, Any]:
        """Return the average precisions in percent, ``detections`` and ``samples``.

        Raises:
            ValueError: if there are no images.
        """
        parts = processes.gather((self.found, self.truth))
        result: dict[str, Any] = {}
        if processes.is_main:
            found, truth = (list(chain.from_iterable(part[side] for part in parts)) for side in (0, 1))
            if truth:
                detections = sum(len(one.boxes) for one in found)
                result = {**box_average_precision(found, truth), "detections": detections, "samples": len(truth)}
        result = processes.from_main(result)
        if not result:
            raise ValueError(EMPTY)
        return result


def _arrays(image_id: int, tensors: Mapping[str, Tensor], *names: str) -> ImageBoxes:
    return ImageBoxes(image_id, **{name: tensors[name].cpu().numpy() for name in names if name in tensors})
