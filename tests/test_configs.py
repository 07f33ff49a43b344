"""Every committed config passes the rules of the check; one of each method and data set also takes steps on fake data.

The others of a method differ in their pair of models, whose names and places are tested with the models and recipes.
"""

from pathlib import Path

import pytest

from kd_plugins.check import before_training, check_config
from kd_plugins.check.steps import stage_run
from kd_plugins.check.steps.estimate import Estimate
from kd_plugins.config.build import build_config
from kd_plugins.config.config import read_config
from kd_plugins.config.fake_data import with_fake_data

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
PATHS = sorted(CONFIGS.rglob("*.yaml"))
OF_THEIR_KIND = [path for path in PATHS if path == max(path.parent.glob("*.yaml"))]
OTHERS = [path for path in PATHS if path not in OF_THEIR_KIND]


DETECTORS = ("coco", "canvas-digits")
QUICK = {"min_size": 64, "box_batch_size_per_image": 16, "rpn_post_nms_top_n_train": 50, "rpn_post_nms_top_n_test": 20}
"""Keywords of a detector, because images of COCO's size and 512 proposals would take minutes on a CPU."""


IMAGES = 3  # angles need three
LARGE = ("letkd1", "letkd2")
"""Methods that look at the teacher's maps of many images before the first step."""


def quick(path):
    """Return overrides for a config of detectors."""
    if not set(path.parts) & set(DETECTORS):
        return ()
    sides = ["model"] if path.parent.name == "ce" else ["teacher_model", "student_model"]
    return [f"models.{side}.kwargs.{name}={value}" for side in sides for name, value in QUICK.items()]


def with_small_images(path, folder):
    """Return a copy of a config of ImageNet whose images have 64 pixels; LAKD's stays at 224."""
    text = path.read_text()
    for size, small in (("224", "64"), ("256", "72")):
        assert f"size: {size}" in text
        text = text.replace(f"size: {size}", f"size: {small}")
    (folder / path.name).write_text(text)
    return folder / path.name


@pytest.fixture
def no_memory(monkeypatch):
    """Leave out the step that counts memory; tests of the check have it."""

    def one_step(step, batch, epoch_images, *, moves):
        step.run()
        return Estimate("cpu", IMAGES, batch, 0.0, 0.0, None)

    monkeypatch.setattr(stage_run, "estimate", one_step)


@pytest.mark.usefixtures("no_memory")
@pytest.mark.parametrize("path", OF_THEIR_KIND, ids=[str(path.relative_to(CONFIGS)) for path in OF_THEIR_KIND])
def test_check_finds_nothing(path, tmp_path):
    if path.parent.name in LARGE and path.parts[-3] == "imagenet":
        path = with_small_images(path, tmp_path)
    report = check_config(path, fake_data=True, images=IMAGES, overrides=quick(path))
    assert not [f for f in report.findings if f.level != "ok"], report.text()
    (stage,) = report.stages
    assert stage.terms


@pytest.mark.parametrize("path", OTHERS, ids=[str(path.relative_to(CONFIGS)) for path in OTHERS])
def test_the_rules_that_need_no_step_find_nothing(path, capsys):
    config = with_fake_data(read_config(path))
    before_training(config, build_config(config))
    assert "warning" not in capsys.readouterr().err


def test_names_its_checkpoints_after_itself():
    for path in PATHS:
        text = path.read_text()
        assert text.startswith("# "), path
        if "dst_ckpt" in text:
            assert path.stem in text.split("dst_ckpt:")[1].splitlines()[0], path
