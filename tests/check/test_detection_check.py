"""`check`, `bench` and `--fake-data` on configs of detectors."""

import json

import detection_configs
import detectors
import numpy as np
import pytest
from PIL import Image

from kd_plugins.bench.config import bench_config
from kd_plugins.check.checking import check_config


def texts(report, level):
    return [f.message for f in report.findings if f.level == level]


def test_a_sound_config_and_its_own_losses(tmp_path):
    report = check_config(detection_configs.write(tmp_path))
    assert not report.failed
    assert texts(report, "warning") == [
        "the teacher has random weights: set src_ckpt, or checkpoint or pretrained in its kwargs"
    ]
    assert {term.name for term in report.stages[0].terms} == {"ckd", "review", *detectors.LOSSES}
    assert not texts(check_config(detection_configs.write_alone(tmp_path)), "warning")


def test_a_term_far_above_the_own_losses(tmp_path):
    path = detection_configs.write(tmp_path)
    path.write_text(path.read_text().replace("weight: 0.02", "weight: 100.0"))
    (message,) = (m for m in texts(check_config(path), "warning") if "gradient" in m)
    assert message.startswith("term review: its gradient is ")


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('"num_classes": 11', '"num_classes": 10', "labels need 11 (one is the background)"),
        ("    auxiliary_model_wrapper: {key: DetectionTeacher, kwargs: {}}\n", "", "{key: DetectionTeacher}"),
        ("    collate_fn: collate_detection\n", "", "has images with boxes: add collate_fn: collate_detection"),
        ("[points.proposals, ", "[points.proposal, ", "provides no 'points.proposal'"),
        ("output: [points.proposals, ", "output: [", "'points.proposals' output was not captured"),
    ],
)
def test_mistakes(tmp_path, before, after, message):
    path = detection_configs.write(tmp_path)
    path.write_text(path.read_text().replace(before, after))
    report = check_config(path)
    assert any(message in found for found in texts(report, "error")), report.text()


def test_a_step_on_images_of_cocos_shape(tmp_path):
    coco = (
        "key: kd_plugins.data.detection.CocoBoxes\n    init: {kwargs: {root: ./coco/train2017, annotations: "
        "./coco/instances_train2017.json, train: True}}"
    )
    text = detection_configs.text(TINY=json.dumps(
        {"model_name": "resnet50", "num_classes": 81, "channels": 16, "representation": 32, "min_size": 96,
         "pretrained": True}
    ))  # fmt: skip
    head, _, rest = text.partition("key: kd_plugins.data.detection.CanvasDigits")
    text = head + coco + "\n" + rest[rest.index("  &val") :]
    head, _, rest = text.partition("key: kd_plugins.data.detection.CanvasDigits")
    text = head + coco.replace("True", "False") + "\n" + rest[rest.index("models:") :]
    path = tmp_path / "coco.yaml"
    path.write_text(text)
    report = check_config(path, fake_data=True)
    assert not report.failed, report.text()
    assert report.stages[0].estimate.images == 2


def test_targets_of_own_images_are_checked(tmp_path):
    Image.fromarray(np.zeros((20, 20, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    content = {
        "images": [{"id": 4, "file_name": "a.png"}],
        "categories": [{"id": number, "name": f"c{number}"} for number in range(1, 13)],
        "annotations": [{"image_id": 4, "category_id": 12, "bbox": [1, 1, 5, 5]}],
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    path = detection_configs.write(tmp_path)
    text = path.read_text().replace("CanvasDigits", "CocoBoxes")
    kwargs = f"{{kwargs: {{root: {tmp_path}, annotations: {tmp_path / 'a.json'}, train: True}}}}"
    kept = [line if "init: {kwargs" not in line else f"    init: {kwargs}" for line in text.splitlines()]
    path.write_text("\n".join(kept) + "\n")
    assert "the student has 11 classes, but the labels need 13 (one is the background): set num_classes" in texts(
        check_config(path), "error"
    )


def test_bench_shows_time_and_memory(tmp_path):
    path = detection_configs.write(tmp_path)
    assert "term ckd" in bench_config(path, rounds=1).text()
    assert "student from scratch" in bench_config(path, memory=True).text()
