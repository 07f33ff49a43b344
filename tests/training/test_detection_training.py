"""Detectors in the trainer: metrics, own losses by name, exact resume, several processes, messages."""

import json

import detection_configs
import pytest
import torch
import train_and_dump
from detectors import LOSSES, tiny
from several_processes import together

from kd_plugins.analysis.measure import measure
from kd_plugins.metrics import average_precision
from kd_plugins.runtime.checkpoint import load_state
from kd_plugins.training.report import training_report
from kd_plugins.training.train import train
from kd_plugins.training.trainer import Trainer


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return folder and summary of a run of two epochs."""
    folder = tmp_path_factory.mktemp("detection")
    path = detection_configs.write(folder, EPOCHS=2)
    return path, folder / "run", train(path, run_dir=folder / "run", device="cpu")


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_the_detectors_own_losses_are_terms(trained):
    _, folder, summary = trained
    for line in lines(folder):
        terms = line["terms"]
        assert list(terms) == ["ckd", "ckd_at_match", "review", *LOSSES]
        own = sum(terms[name] for name in LOSSES)
        assert line["loss"] == pytest.approx(own + 0.1 * terms["ckd"] + 0.02 * terms["review"], rel=1e-5)
        assert line["val"]["samples"] == 4
    assert set(summary["test_best"]) >= {"ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "detections"}
    assert summary["teacher_unchanged"]
    report = training_report(summary)
    assert "APm -" in report
    assert "the student is" in report


def test_the_checkpoint_is_the_bare_detectors(trained):
    _, folder, _ = trained
    assert set(torch.load(folder / "best.pt")["model"]) == set(tiny().state_dict())


def test_the_best_epoch_is_that_of_the_highest_ap(tmp_path, monkeypatch):
    from kd_plugins.runtime.tasks import detection

    found = iter([10.0, 30.0, 20.0])
    scores = {"ap50": 1.0, "ap75": 1.0, "ap_small": None, "ap_medium": None, "ap_large": None}
    monkeypatch.setattr(detection, "box_average_precision", lambda *_: {"ap": next(found), **scores})
    summary = train(
        detection_configs.write_alone(tmp_path, EPOCHS=3), run_dir=tmp_path / "run", device="cpu", test=False
    )
    assert (summary["best_epoch"], summary["val_best"]) == (2, 30.0)


def test_resume_is_bit_exact(trained, tmp_path, monkeypatch):
    path, folder, _ = trained
    save, calls = Trainer._save, []

    def failing(self, line):
        save(self, line)
        calls.append(None)
        if len(calls) == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_save", failing)
        with pytest.raises(KeyboardInterrupt):
            train(path, run_dir=tmp_path / "cut", device="cpu")
    train(path, run_dir=tmp_path / "cut", device="cpu", resume=True)
    whole, cut = load_state(folder), load_state(tmp_path / "cut")
    assert all(torch.equal(tensor, cut["model"][name]) for name, tensor in whole["model"].items())
    assert all(torch.equal(tensor, cut["adapters"][name]) for name, tensor in whole["adapters"].items())
    assert whole["adapters"]
    assert [line["terms"] for line in whole["history"]] == [line["terms"] for line in cut["history"]]


def test_two_processes_train_alike(tmp_path):
    path = detection_configs.write(tmp_path, TRAIN=8)
    done = together(train_and_dump.main, path, tmp_path)
    assert done.returncode == 0, done.stderr
    for name in ("rank", "beside"):
        first, second = (torch.load(tmp_path / f"{name}{rank}.pt") for rank in (0, 1))
        assert all(
            torch.equal(first[key], second[key])
            for key in first
            # Batch norm's statistics are of each process's own images.
            if "running" not in key and not key.endswith("num_batches_tracked")
        )
    (line,) = lines(tmp_path / "run")
    assert line["val"]["samples"] == 4
    assert "get no gradient" not in done.stderr


def test_mixed_precision(tmp_path):
    path = detection_configs.write(tmp_path, TRAIN=2, VAL=1)
    train(path, run_dir=tmp_path / "run", device="cpu", amp="bf16", test=False)
    assert all(torch.isfinite(torch.tensor(value)) for value in lines(tmp_path / "run")[0]["terms"].values())


def test_pycocotools_is_missed_before_training(tmp_path, monkeypatch):
    monkeypatch.setattr(average_precision.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ValueError, match=r"pip install 'kd_plugins\[detection\]'"):
        train(detection_configs.write(tmp_path), run_dir=tmp_path / "run", device="cpu")


def test_an_untrained_detector_without_detections(tmp_path):
    path = detection_configs.write_alone(tmp_path)
    path.write_text(path.read_text().replace('"min_size"', '"box_score_thresh": 0.99, "min_size"'))
    summary = train(path, run_dir=tmp_path / "run", device="cpu")
    assert summary["test_last"]["ap"] == 0
    assert "APl -, no detections (4 images)" in training_report(summary)


def test_a_metric_of_classification_is_refused(tmp_path):
    path = detection_configs.write_alone(tmp_path)
    path.write_text(path.read_text() + "metric: multilabel\n")
    with pytest.raises(ValueError, match="metric: multilabel is for classification: remove it"):
        train(path, run_dir=tmp_path / "run", device="cpu")


def test_a_checkpoint_is_measured_and_not_compared(trained):
    path, folder, summary = trained
    found = measure(path, folder / "best.pt", device="cpu")
    assert found["student"] == summary["test_best"]
    with pytest.raises(ValueError, match="compares classifiers; leave it out for detectors"):
        measure(path, folder / "best.pt", device="cpu", compare_teacher=True)
