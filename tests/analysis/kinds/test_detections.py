"""Boxes of detectors beside the ground truth."""

import json

import detection_configs
import detectors
import pytest
import small_configs
import studies
import torch

from kd_plugins.analysis.base import Subject
from kd_plugins.analysis.kinds.detections import Detections, run_detector
from kd_plugins.analysis.study import build_study
from kd_plugins.cli import main
from kd_plugins.config.config import read_config


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with a config of detectors and the weights of two students; one of them is the teacher."""
    folder = tmp_path_factory.mktemp("detections")
    for seed, name in enumerate(("same", "other")):
        torch.save(detectors.tiny(seed).state_dict(), folder / f"{name}.pt")
    detection_configs.write(folder, VAL=6, SRC=folder / "same.pt")
    return folder


def command(folder, what, *arguments):
    given = [text for name in ("same", "other") for text in ("--checkpoint", str(folder / f"{name}.pt"))]
    return main(
        ["analyze", str(folder / "detect.yaml"), "--what", what, "--out", str(folder / "out"), *given, *arguments]
    )


def test_files_and_table(folder, capsys):
    assert command(folder, "detections", "--device", "cpu") == 0
    printed = capsys.readouterr().out
    assert "AP75  boxes with a score of at least 0.5" in printed
    assert (folder / "out" / "detections.png").stat().st_size > 10_000
    found = json.loads((folder / "out" / "detections.json").read_text())
    about = {"what", "config", "data", "images", "seed", "models"}
    assert set(found) == about | {"least_score", "ap", "shown"}
    assert found["images"] == 6
    assert set(found["ap"]) == set(found["shown"]["found"]) == {"teacher", "same", "other"}
    assert {"ap", "ap50", "ap75", "boxes", "detections", "samples"} <= set(found["ap"]["teacher"])
    assert found["ap"]["teacher"] == found["ap"]["same"]
    shown = found["shown"]
    assert len(shown["images"]) == len(shown["truth"]) == len(shown["found"]["other"]) == 4
    for entry in (*shown["found"]["teacher"], *shown["found"]["other"]):
        assert len(entry["boxes"]) == len(entry["labels"]) == len(entry["scores"]) == len(entry["names"])
    data = detectors.CanvasDigits(train=False, images=6)
    for number, truth in zip(shown["images"], shown["truth"], strict=True):
        assert truth["boxes"] == data[number][1]["boxes"].tolist()
        assert truth["names"] == [str(label - 1) for label in truth["labels"]]


def test_few_images(folder):
    assert command(folder, "detections", "--images", "2", "--no-plot", "--device", "cpu") == 0
    found = json.loads((folder / "out" / "detections.json").read_text())
    assert found["images"] == found["ap"]["other"]["samples"] == 2
    assert len(found["shown"]["images"]) == 2


def test_a_detector_that_finds_the_truth(folder):
    class Perfect(torch.nn.Module):
        def forward(self, images):
            return [truth[image.sum().item()] for image in images]

    study = build_study(read_config(folder / "detect.yaml"), studies.CPU, runs={})
    scores = torch.tensor([0.9, 0.4, 0.4, 0.4])
    truth = {image.sum().item(): {**one, "scores": scores[: len(one["boxes"])]} for image, one in study.dataset}
    study.teacher = Subject("teacher", "perfect", Perfect(), Perfect(), (64, 64))
    found = Detections().compute(study)["ap"]["teacher"]
    assert found["ap"] == pytest.approx(100)
    assert found["boxes"] == 6


def test_models_stay_as_they_were(folder):
    study = build_study(read_config(folder / "detect.yaml"), studies.CPU, runs={"other": folder / "other.pt"})
    model = study.students[0].model
    model.train()
    model.backbone.eval()
    modes = [module.training for module in model.modules()]
    run_detector(study.students[0], study.loader, torch.device("cpu"))
    assert [module.training for module in model.modules()] == modes
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_other_analyses_refuse_a_detector(folder, capsys):
    for what in ("logits", "detections,subclasses"):
        assert command(folder, what, "--device", "cpu") != 0
        message = f"{what.split(',')[-1]} is for classifiers; a detector's config has only detections and curves"
        assert message in capsys.readouterr().err


def test_detections_refuse_a_classifier(tmp_path, capsys):
    path = small_configs.write(tmp_path)
    assert main(["analyze", str(path), "--what", "detections", "--device", "cpu"]) != 0
    assert "detections is for detectors, whose loaders have collate_fn: collate_detection" in capsys.readouterr().err
