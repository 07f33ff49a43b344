"""Batches of images with boxes: every mistake in a target is one message that names the image."""

import pytest
import torch

from kd_plugins.data.detection import collate_detection
from kd_plugins.data.detection.collate import TargetError, check_labels
from kd_plugins.data.detection.fake_boxes import FakeBoxes
from kd_plugins.data.loading import to_device

IMAGE = torch.zeros(3, 20, 30)


def target(**entries):
    boxes, labels = torch.tensor([[0.0, 0, 30, 20], [5, 5, 9, 9]]), torch.tensor([1, 2])
    return {"boxes": boxes, "labels": labels, "image_id": torch.tensor(7), **entries}


def test_pairs_and_triples():
    images, targets = collate_detection([(IMAGE, target()), (torch.zeros(3, 40, 30), target())])
    assert [image.shape[1] for image in images] == [20, 40]
    assert targets[1]["labels"].tolist() == [1, 2]
    _, _, supplements = collate_detection([(IMAGE, target(), {"a": 1})])
    assert supplements == [{"a": 1}]


def test_integers_and_no_boxes_are_fine():
    none = target(boxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.int64))
    whole = target(boxes=torch.tensor([[0, 0, 3, 3]]), labels=torch.tensor([1], dtype=torch.int32))
    _, targets = collate_detection([(IMAGE, none), (IMAGE, whole)])
    assert targets[1]["boxes"].dtype == torch.float32
    assert targets[1]["labels"].dtype == torch.int64


def boxes(*rows):
    return {"boxes": torch.tensor(rows, dtype=torch.float32), "labels": torch.ones(len(rows), dtype=torch.int64)}


@pytest.mark.parametrize(
    ("image", "wrong", "message"),
    [
        (IMAGE, target(labels=torch.tensor([0, 1])), "image 7: labels must be 1 or more"),
        (IMAGE, target(**boxes([10, 10, 5, 5])), r"image 7: box .* no width or height; are they x, y, width"),
        (IMAGE, target(**boxes([0, 0, 4, 0])), "image 7: box .* no width or height"),
        (IMAGE, target(**boxes([20, 5, 35, 9])), "image 7: box .* outside the image of width 30 and height 20"),
        (IMAGE, target(**boxes([-9, 5, 3, 9])), "image 7: box .* outside the image"),
        (IMAGE, target(boxes=torch.zeros(0)), r"image 7: boxes must be a tensor \(m, 4\)"),
        (IMAGE, target(labels=torch.tensor([1])), "image 7: labels must be integers of shape"),
        (IMAGE.byte(), target(), "image 7 must be a float tensor .* divide uint8 by 255"),
        (IMAGE, {"boxes": torch.zeros(0, 4)}, "image_id, found 'boxes'"),
        (IMAGE, torch.tensor(3), "found Tensor"),
    ],
)
def test_mistakes(image, wrong, message):
    with pytest.raises(TargetError, match=message):
        collate_detection([(image, wrong)])


def test_label_beyond_the_classes():
    check_labels([target()], 3)
    with pytest.raises(TargetError, match=r"image 7: label 2 is beyond the detector's classes, 1\.\.1"):
        check_labels([target()], 2)


def test_fake_boxes_are_sound():
    data = FakeBoxes(length=4, height=60, width=80, num_classes=5)
    images, targets = collate_detection([data[index] for index in range(4)])
    assert images[0].shape == (3, 60, 80)
    assert {label for found in targets for label in found["labels"].tolist()} <= set(range(1, 6))
    assert torch.equal(data[2][1]["boxes"], data[2][1]["boxes"])


def test_to_device_keeps_the_structure():
    moved = to_device((IMAGE, [target()], "name"), torch.device("meta"))
    assert isinstance(moved, tuple)
    assert moved[1][0]["boxes"].device.type == "meta"
    assert moved[2] == "name"
