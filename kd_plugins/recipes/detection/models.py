"""Detectors that recipes know: Faster R-CNN with a feature pyramid over a timm backbone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..._names import unknown_name

COCO_SIZES = {"min_size": [640, 672, 704, 736, 768, 800], "max_size": 1333}
DIGITS = {
    "channels": 32, "representation": 128, "pooled_size": 5, "anchors": [8, 16, 32, 64, 128], "frozen_stages": 0,
    "frozen_norms": False, "min_size": 64, "max_size": 64, "box_batch_size_per_image": 64,
    "rpn_post_nms_top_n_train": 100, "rpn_post_nms_top_n_test": 100,
}  # fmt: skip
"""Keywords of a detector of 64x64 images that is trained from scratch."""
MOBILE = {"frozen_stages": 0, "frozen_norms": False}
"""detectron2 trains all of MobileNetV2; its batch norms are not frozen."""


@dataclass(frozen=True)
class Detector:
    """A detector."""

    name: str  # in file names and on the command line
    title: str  # in sentences
    backbone: str  # name of timm's model
    kwargs: Mapping[str, Any]  # keywords that differ from those of a ResNet

    def keywords(self, classes: int, *, digits: bool, pretrained: bool) -> dict[str, Any]:
        """Return the keywords of ``timm_detector``."""
        own = DIGITS if digits else {**self.kwargs, **COCO_SIZES}
        weights = {"pretrained": True} if pretrained and not digits else {}
        return {"model_name": self.backbone, "num_classes": classes + 1, **weights, **own}


DETECTORS = {
    detector.name: detector
    for detector in (
        Detector("resnet101", "ResNet-101-FPN", "resnet101", {}),
        Detector("resnet50", "ResNet-50-FPN", "resnet50", {}),
        Detector("resnet18", "ResNet-18-FPN", "resnet18", {}),
        Detector("mobilenetv2", "MobileNetV2-FPN", "mobilenetv2_100", MOBILE),
        Detector("resnet10t", "ResNet-10-T-FPN", "resnet10t", {}),
        Detector("test_resnet", "a tiny ResNet-FPN", "test_resnet", {}),
    )
}


def find_detector(name: str) -> Detector:
    """Return a detector by name; ``timm:NAME`` is one over any timm backbone.

    Raises:
        ValueError: for an unknown name.

    Example:
        >>> find_detector("timm:regnety_032").title
        'regnety_032-FPN'
    """
    if name.startswith("timm:"):
        backbone = name.removeprefix("timm:")
        return Detector(backbone, f"{backbone}-FPN", backbone, {})
    if name not in DETECTORS:
        raise ValueError(f"{unknown_name('detector', name, DETECTORS)}; any timm backbone is timm:NAME")
    return DETECTORS[name]
