"""COCO's AP: exact boxes, shifted boxes, no detection, classes and areas without a box."""

import numpy as np
import pytest

from kd_plugins.metrics import average_precision
from kd_plugins.metrics.average_precision import ImageBoxes, box_average_precision

TRUTH = [
    ImageBoxes(3, np.array([[0.0, 0, 20, 20], [30, 30, 80, 80]]), np.array([1, 4])),
    ImageBoxes(8, np.array([[5.0, 5, 25, 15]]), np.array([1])),
    ImageBoxes(9, np.zeros((0, 4)), np.zeros(0, dtype=int)),
]


def found(shift=0.0, *, share=1.0):
    return [
        ImageBoxes(one.image_id, one.boxes + shift * np.tile(one.boxes[:, 2:] - one.boxes[:, :2], 2), one.labels,
                   scores=np.full(len(one.boxes), 0.9))
        for one in TRUTH[: round(share * len(TRUTH))]
    ]  # fmt: skip


def test_exact_boxes():
    scores = box_average_precision(found(), TRUTH)
    assert scores.pop("ap_large") is None
    assert scores == pytest.approx({"ap": 100, "ap50": 100, "ap75": 100, "ap_small": 100, "ap_medium": 100})


def test_boxes_shifted_by_half_their_size():
    # The intersection is a quarter of a box: IoU 1 / 7.
    assert box_average_precision(found(0.5), TRUTH)["ap50"] == 0


def test_no_detections():
    none = [ImageBoxes(one.image_id, np.zeros((0, 4)), np.zeros(0), scores=np.zeros(0)) for one in TRUTH]
    scores = box_average_precision(none, TRUTH)
    assert scores["ap"] == scores["ap_small"] == 0
    assert scores["ap_large"] is None


def test_a_class_that_never_occurs_does_not_count():
    more = [*found(), ImageBoxes(9, np.array([[0.0, 0, 9, 9]]), np.array([7]), scores=np.array([0.99]))]
    assert box_average_precision(more, TRUTH)["ap"] == pytest.approx(100)


def test_crowds_are_no_missed_boxes():
    crowd = ImageBoxes(9, np.array([[0.0, 0, 9, 9]]), np.array([1]), area=np.array([50.0]), iscrowd=np.array([1]))
    assert box_average_precision(found(), [*TRUTH[:2], crowd])["ap"] == pytest.approx(100)


def test_without_pycocotools(monkeypatch):
    monkeypatch.setattr(average_precision.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ValueError, match=r"pip install 'kd_plugins\[detection\]'"):
        box_average_precision(found(), TRUTH)
