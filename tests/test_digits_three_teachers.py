"""The committed configs with three teachers on digits, trained for two epochs as they stand."""

import json
from pathlib import Path

import pytest

from kd_plugins.training.train import train

CONFIGS = Path(__file__).resolve().parents[1] / "configs" / "digits"
TEACHERS = ("vit", "mixer", "cifar_resnet20")


def shortened(epochs):
    return [f"train.num_epochs={epochs}", f"train.scheduler.kwargs.epochs={epochs}"]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teachers")
    for name in TEACHERS:
        config = CONFIGS / "teacher" / f"{name}.yaml"
        train(config, run_dir=folder / name, device="cpu", overrides=shortened(1))
    return [folder / name / "best.pt" for name in TEACHERS]


@pytest.mark.parametrize("method", ["aekd", "average", "aekd_sfkd", "aekd_f"])
def test_three_teachers_teach_a_cnn(tmp_path, checkpoints, method):
    text = (CONFIGS / method / "cifar_resnet8_from_vit_and_mixer_and_resnet20.yaml").read_text()
    for name, path in zip(TEACHERS, checkpoints, strict=True):
        assert f"runs/{name}/seed0/best.pt" in text
        text = text.replace(f"runs/{name}/seed0/best.pt", json.dumps(str(path)))
    config = tmp_path / "config.yaml"
    config.write_text(text)
    summary = train(config, run_dir=tmp_path / "run", device="cpu", overrides=shortened(2))
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert lines[1]["loss"] < lines[0]["loss"]
    assert summary["teacher_unchanged"] is True
    assert summary["teacher"]["top1"] > 20  # an epoch each; chance is 10
    assert summary["test_last"]["samples"] == 360
