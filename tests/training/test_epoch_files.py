"""`--keep-every` and `--tensorboard`: what a run keeps of its epochs."""

import importlib
import json
import sys

import pytest
import small_configs
import torch

from kd_plugins.cli import main
from kd_plugins.training.kept.epoch_files import EpochFiles
from kd_plugins.training.train import train


def events(folder):
    """Return name -> {epoch: value} of all event files in a folder."""
    accumulators = importlib.import_module("tensorboard.backend.event_processing.event_accumulator")
    found = accumulators.EventAccumulator(str(folder)).Reload()
    return {tag: {event.step: event.value for event in found.Scalars(tag)} for tag in found.Tags()["scalars"]}


def test_events_are_the_lines_of_metrics_and_weights_are_kept(tmp_path, monkeypatch):
    config = small_configs.write(tmp_path, EPOCHS=3)
    run, plain = tmp_path / "run", tmp_path / "plain"
    line = ["train", str(config), "--device", "cpu", "--test-every", "3"]
    more = ["--run-dir", str(run), "--keep-every", "2", "--tensorboard"]
    assert main([*line, "--run-dir", str(plain)]) == 0
    calls = []

    def stop_in_the_third_epoch(*_):
        calls.append(1)
        if len(calls) == 6:  # once at first, then twice an epoch
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("kd_plugins.training.trainer.Trainer._forget_captured", stop_in_the_third_epoch)
        assert main([*line, *more]) == 130
    assert main([*line, *more, "--resume"]) == 0
    found = events(run)
    assert {"loss/total", "loss/ce", "loss/lskd", "lr", "val/top1", "test/top1"} <= set(found)
    lines = [json.loads(text) for text in (run / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) == 3
    for one in lines:
        assert found["loss/ce"][one["epoch"]] == pytest.approx(one["terms"]["ce"])
        assert found["val/top1"][one["epoch"]] == pytest.approx(one["val"]["top1"])
    assert list(found["test/top1"]) == [3]
    # Neither changes the training.
    best = [torch.load(folder / "best.pt", weights_only=True)["model"] for folder in (run, plain)]
    assert all(torch.equal(best[0][name], best[1][name]) for name in best[0])
    assert [path.name for path in run.glob("epoch-*.pt")] == ["epoch-2.pt"]
    assert torch.load(run / "epoch-2.pt", weights_only=True)["epoch"] == 2
    assert main(["test", str(config), "--device", "cpu", "--checkpoint", str(run / "epoch-2.pt")]) == 0


def test_refuses(tmp_path, monkeypatch):
    config = small_configs.write(tmp_path)
    with pytest.raises(ValueError, match="--keep-every must be a whole number of at least 0 epochs, found -1"):
        train(config, run_dir=tmp_path / "run", keep_every=-1)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ValueError, match=r"--tensorboard needs TensorBoard: pip install 'kd-plugins\[tensorboard\]'"):
        EpochFiles(tmp_path, tensorboard=True)
