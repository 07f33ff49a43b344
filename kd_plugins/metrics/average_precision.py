"""COCO's average precision of boxes, computed by pycocotools."""

from __future__ import annotations

import contextlib
import importlib.util
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

NAMES = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")


@dataclass(frozen=True)
class ImageBoxes:
    """Boxes of one image: what a detector found, or what is there."""

    image_id: int  # id of the image
    boxes: np.ndarray  # (m, 4) as x1, y1, x2, y2
    labels: np.ndarray  # (m,) labels
    scores: np.ndarray | None = None  # (m,) scores of detections; None for the truth
    area: np.ndarray | None = None  # (m,) areas of the truth; those of the boxes if None
    iscrowd: np.ndarray | None = None  # (m,) flags of the truth; 0 if None


def require_pycocotools() -> None:
    """Raise ``ValueError`` if pycocotools is not installed."""
    if importlib.util.find_spec("pycocotools") is None:
        raise ValueError("detection is measured with pycocotools: pip install 'kd_plugins[detection]'")


def box_average_precision(detections: Sequence[ImageBoxes], truth: Sequence[ImageBoxes]) -> dict[str, float | None]:
    """Return COCO's average precisions of boxes in percent.

    Args:
        detections: one entry per image, with scores.
        truth: one entry per image, with the same ids.

    Returns:
        ``ap`` (mean over IoU 0.50 to 0.95), ``ap50``, ``ap75``, ``ap_small``, ``ap_medium`` and ``ap_large`` (areas
        below 32 x 32, between, and above 96 x 96 pixels); None where the truth has no box of that area. Classes without
        a box do not count.

    Raises:
        ValueError: if pycocotools is not installed.

    References:
        Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014.

    Example:
        >>> boxes, labels = np.array([[0.0, 0.0, 40.0, 40.0]]), np.array([1])
        >>> there = ImageBoxes(1, boxes, labels)
        >>> scores = box_average_precision([ImageBoxes(1, boxes, labels, scores=np.array([0.9]))], [there])
        >>> round(scores["ap"], 6), scores["ap_small"]
        (100.0, None)
    """
    require_pycocotools()
    from pycocotools.cocoeval import COCOeval

    # pycocotools prints its progress.
    with contextlib.redirect_stdout(io.StringIO()):
        categories = sorted({int(label) for one in truth for label in one.labels})
        run = COCOeval(_coco(truth, truth, categories), _coco(detections, truth, categories), iouType="bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    # -1 stands for no box of that area.
    return {name: None if value < 0 else 100.0 * float(value) for name, value in zip(NAMES, run.stats, strict=False)}


def _coco(entries: Sequence[ImageBoxes], images: Sequence[ImageBoxes], categories: Sequence[int]) -> Any:
    """Return boxes as pycocotools keeps them; its ``loadRes`` would fail without detections."""
    from pycocotools.coco import COCO

    found = COCO()
    found.dataset = {
        "images": [{"id": one.image_id} for one in images],
        "categories": [{"id": number} for number in categories],
        "annotations": [],
    }
    for one in entries:
        sizes = one.boxes[:, 2:] - one.boxes[:, :2]
        areas = sizes.prod(axis=1) if one.area is None else one.area
        crowds = np.zeros(len(one.boxes), dtype=int) if one.iscrowd is None else one.iscrowd
        scores = np.ones(len(one.boxes)) if one.scores is None else one.scores
        rows = zip(one.boxes[:, :2], sizes, one.labels, scores, areas, crowds, strict=True)
        for corner, size, label, score, area, crowd in rows:
            found.dataset["annotations"].append(
                {
                    "id": len(found.dataset["annotations"]) + 1,
                    "image_id": one.image_id,
                    "category_id": int(label),
                    "bbox": [*corner.tolist(), *size.tolist()],
                    "score": float(score),
                    "area": float(area),
                    "iscrowd": int(crowd),
                }
            )
    found.createIndex()
    return found
