"""The committed ViT -> CNN pair on digits, trained for two epochs as it stands."""

import json
from pathlib import Path

import pytest

from kd_plugins.training.train import train

CONFIGS = Path(__file__).resolve().parents[1] / "configs" / "digits"


def shortened(epochs):
    return [f"train.num_epochs={epochs}", f"train.scheduler.kwargs.epochs={epochs}"]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    run = tmp_path_factory.mktemp("teacher") / "run"
    train(CONFIGS / "teacher" / "vit.yaml", run_dir=run, device="cpu", overrides=shortened(3))
    return run / "best.pt"


@pytest.mark.parametrize(
    "method", ["kd", "lskd", "ckd", "dkd", "ctkd", "mlkd", "dist", "sfkd", "lakd", "letkd1", "letkd2"]
)
def test_a_vit_teaches_a_cnn(tmp_path, teacher, method):
    config = CONFIGS / method / "cifar_resnet8_from_vit.yaml"
    overrides = [*shortened(2), f"models.teacher_model.src_ckpt={teacher}"]
    summary = train(config, run_dir=tmp_path / "run", device="cpu", overrides=overrides)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) == 2
    assert lines[1]["loss"] < lines[0]["loss"]
    assert summary["teacher_unchanged"] is True
    assert summary["teacher"]["top1"] > 30  # three epochs of a ViT; chance is 10
    assert summary["test_last"]["samples"] == 360
