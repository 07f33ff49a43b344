"""letKD on digits, from the fit of its statistics to the test of the trained student."""

import json

import pytest
import small_configs
import torch
from test_resume import KilledError, assert_same, final, interrupt

from kd_plugins.cli import main
from kd_plugins.models import CIFAR_MODELS
from kd_plugins.runtime.run_names import STATISTICS
from kd_plugins.statistics import load_statistics
from kd_plugins.training.train import train

TERMS = """\
        penultimate:
          criterion:
            key: LetKDLoss
            kwargs: {kind: penultimate, statistics: AT, teacher_module_path: layer3, num_centres: 12}
          weight: 1.0
        intermediate:
          criterion:
            key: LetKDLoss
            kwargs: {kind: intermediate, statistics: AT, teacher_module_path: layer3.0, subclasses: 2}
          weight: 1.0
"""
SIDES = """\
  teacher:
    forward_proc: forward_batch_only
    requires_grad: False
    forward_hook: {output: [layer3, layer3.0]}
  student:
    forward_proc: forward_batch_only
    forward_hook: {output: [kd_layer.penultimate.scores, kd_layer.intermediate.scores]}
"""
STUDENT = """\
  student_model:
    key: letkd_student
    kwargs:
      student: {key: cifar_resnet8, kwargs: {num_classes: 10}}
      layers:
        - {point: penultimate, num_scores: 12}
        - {point: intermediate, num_scores: 20, alpha: 0.5}
"""


def write(folder, *, statistics="auto", **parts):
    """Write a letKD-2 config and return its path."""
    path = small_configs.write(folder, KD_TERM=TERMS.replace("AT", str(statistics)), SIDES=SIDES, **parts)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(STUDENT if line.startswith("  student_model:") else line for line in lines))
    return path


def test_from_fit_to_test(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "letkd.safetensors"
    config = write(tmp_path, statistics=file)
    assert main(["fit", str(config)]) == 0
    found = load_statistics(file)
    assert found.penultimate.centres.shape == (12, 64)
    assert found.intermediate.score_table.shape == (20, 20)
    assert main(["train", str(config), "--run-dir", "run"]) == 0
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    for term in ("penultimate", "intermediate"):
        values = [line["terms"][term] for line in lines]
        assert 0 < values[-1] < values[0]
    capsys.readouterr()
    assert main(["test", str(config), "--checkpoint", "run/best.pt"]) == 0
    assert "student: " in capsys.readouterr().out


def test_auto_fits_by_itself_into_the_run(tmp_path):
    summary = train(write(tmp_path, EPOCHS=1), run_dir=tmp_path / "run")
    assert summary["teacher_unchanged"]
    assert load_statistics(tmp_path / "run" / STATISTICS).penultimate.centres.shape == (12, 64)


def test_a_resumed_training_is_the_uninterrupted_one(tmp_path, monkeypatch):
    config = write(tmp_path)
    train(config, run_dir=tmp_path / "whole")
    interrupt(monkeypatch, "_epoch", call=2)
    with pytest.raises(KilledError):
        train(config, run_dir=tmp_path / "cut")
    monkeypatch.undo()
    train(config, run_dir=tmp_path / "cut", resume=True)
    assert_same(final(tmp_path / "cut"), final(tmp_path / "whole"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("num_scores: 12", "num_scores: 13", "num_scores of the student's KD layer must be 12"),
        ("kd_layer.penultimate.scores, ", "", "was not captured"),
    ],
)
def test_refuses(tmp_path, old, new, message):
    config = write(tmp_path)
    config.write_text(config.read_text().replace(old, new))
    with pytest.raises(ValueError, match=message):
        train(config, run_dir=tmp_path / "run")


def test_the_students_base_is_as_without_layers(tmp_path):
    train(write(tmp_path, EPOCHS=1), run_dir=tmp_path / "run")
    best = torch.load(tmp_path / "run" / "best.pt", weights_only=True)["model"]
    own = {name for name in best if not name.startswith("kd_layer.")}
    assert own == set(CIFAR_MODELS["cifar_resnet8"](num_classes=10).state_dict())
