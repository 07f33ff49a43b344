"""COCO's layout: contiguous labels, what training leaves out, and messages about other files."""

import json

import numpy as np
import pytest
from PIL import Image

from kd_plugins.data.detection import CocoBoxes

CONTENT = {
    "images": [{"id": number, "file_name": f"{number}.png"} for number in (5, 6, 7)],
    "categories": [{"id": 3, "name": "dog"}, {"id": 1, "name": "cat"}],
    "annotations": [
        {"image_id": 5, "category_id": 3, "bbox": [1, 2, 3, 4], "area": 9.5, "iscrowd": 0},
        {"image_id": 5, "category_id": 1, "bbox": [8, 8, 6, 6], "area": 36, "iscrowd": 0},
        {"image_id": 5, "category_id": 1, "bbox": [0, 0, 10, 10], "area": 80, "iscrowd": 1},
        {"image_id": 6, "category_id": 1, "bbox": [2, 2, 0, 5], "area": 0, "iscrowd": 0},
    ],
}


@pytest.fixture
def layout(tmp_path):
    """Return a folder of three images and a function that writes an annotation file of it."""
    for number in (5, 6, 7):
        Image.fromarray(np.full((10, 12, 3), number, dtype=np.uint8)).save(tmp_path / f"{number}.png")

    def write(content):
        (tmp_path / "instances.json").write_text(content if isinstance(content, str) else json.dumps(content))
        return tmp_path, tmp_path / "instances.json"

    return write


def test_training_leaves_out_what_cannot_be_learned(layout):
    data = CocoBoxes(*layout(CONTENT), train=True)
    assert len(data) == 1
    image, target = data[0]
    assert image.shape == (3, 10, 12)
    assert target["boxes"].tolist() == [[1, 2, 4, 6], [8, 8, 12, 10]]  # cut at the border
    assert target["labels"].tolist() == [2, 1]
    assert target["area"].tolist() == [9.5, 36]
    assert target["image_id"] == 5
    assert (data.classes, data.category_ids) == (["cat", "dog"], [1, 3])


def test_evaluation_keeps_crowds_and_images_without_a_box(layout):
    data = CocoBoxes(*layout(CONTENT))
    assert len(data) == 3
    assert data[0][1]["iscrowd"].tolist() == [0, 0, 1]
    assert data[1][1]["boxes"].shape == data[2][1]["boxes"].shape == (0, 4)


def test_raw_ids(layout):
    data = CocoBoxes(*layout(CONTENT), contiguous=False)
    assert data[0][1]["labels"].tolist() == [3, 1, 1]
    assert data.classes == ["cat", "unused 2", "dog"]


def changed(part, **entry):
    first, *rest = CONTENT[part]
    return {**CONTENT, part: [{**first, **entry}, *rest]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "must be a JSON file"),
        ([], "it lacks images"),
        ({"images": []}, "it lacks annotations"),
        ({**CONTENT, "categories": [{"id": 1}]}, "an entry of categories lacks name"),
        (changed("annotations", category_id=9), "image 5 has the category 9"),
        (changed("annotations", image_id=9), "names image 9"),
        (changed("annotations", bbox=[1, 2]), "image 5: bbox must be"),
    ],
)
def test_other_formats(layout, content, message):
    with pytest.raises(ValueError, match=message):
        CocoBoxes(*layout(content), train=True)


def test_missing_files(layout, tmp_path):
    with pytest.raises(ValueError, match=r"nowhere\.json cannot be read"):
        CocoBoxes(tmp_path, tmp_path / "nowhere.json")
    with pytest.raises(ValueError, match="found no folder"):
        CocoBoxes(tmp_path / "images", layout(CONTENT)[1])
    data = CocoBoxes(*layout(changed("images", file_name="lost.png")))
    with pytest.raises(ValueError, match=r"lost\.png cannot be read"):
        data[0]
