"""Digits on canvases: exact boxes, and images that depend on nothing but their number."""

import pytest
import torch

from kd_plugins.data.detection import CanvasDigits, RandomFlip


def test_images_depend_on_seed_split_and_number_alone():
    few, more = CanvasDigits(images=3), CanvasDigits(images=5)
    assert (more.data[:3] == few.data).all()
    assert not (CanvasDigits(images=3, seed=1).data == few.data).all()
    assert not (CanvasDigits(train=False, images=3).data == few.data).all()
    assert len(CanvasDigits(train=False)) == 80


def test_boxes_are_inside_and_disjoint():
    for image, target in CanvasDigits(images=20, size=48):
        boxes = target["boxes"]
        assert image.shape == (3, 48, 48)
        assert image.min() >= 0
        assert image.max() <= 1
        assert 1 <= len(boxes) <= 4
        assert boxes.min() >= 0
        assert boxes.max() <= 48
        assert target["labels"].min() >= 1
        assert target["labels"].max() <= 10
        covered = torch.zeros(48, 48)
        for x1, y1, x2, y2 in boxes.long().tolist():
            covered[y1:y2, x1:x2] += 1
        assert covered.max() == 1
        assert covered.sum() == target["area"].sum()


def test_a_sample_does_not_change_the_data():
    data = CanvasDigits(images=1, transforms=RandomFlip(1.0))
    boxes = data.targets[0]["boxes"].clone()
    (first, mirrored), (second, _) = data[0], data[0]
    assert torch.equal(first, second)
    assert torch.equal(data.targets[0]["boxes"], boxes)
    assert torch.equal(mirrored["boxes"][:, 0], 64 - boxes[:, 2])


@pytest.mark.parametrize(
    ("keywords", "message"),
    [({"size": 8}, "size"), ({"images": 0}, "images"), ({"train": 1}, "train"), ({"seed": -1}, "seed")],
)
def test_wrong_arguments(keywords, message):
    with pytest.raises(ValueError, match=message):
        CanvasDigits(**keywords)


def test_flip_refuses_other_probabilities():
    with pytest.raises(ValueError, match="probability"):
        RandomFlip(2)
    with pytest.raises(ValueError, match="boxes only"):
        RandomFlip()(torch.zeros(3, 4, 4), {"boxes": torch.zeros(0, 4), "masks": torch.zeros(0, 4, 4)})


def test_a_target_that_is_changed_in_place_does_not_change_the_data_set():
    data = CanvasDigits(train=False, images=1)
    before = data[0][1]["boxes"].clone()
    data[0][1]["boxes"][:, 2:] -= 100
    assert torch.equal(data[0][1]["boxes"], before)
