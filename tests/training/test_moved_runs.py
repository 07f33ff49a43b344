"""A run goes on where its files lie elsewhere, and does not where they hold something else."""

import logging

import blobs
import pytest
import torch

from kd_plugins.runtime.checkpoint import CheckpointError
from kd_plugins.training.run_folder import RunError
from kd_plugins.training.train import train
from kd_plugins.training.trainer import Trainer


@pytest.fixture
def cut(tmp_path, monkeypatch):
    """Return the config and the folder of a run that was killed after its first epoch."""
    torch.manual_seed(0)
    torch.save(blobs.blob_net().state_dict(), tmp_path / "teacher.pth")
    config = blobs.write(tmp_path)
    text = config.read_text().replace("src_ckpt: }", f"src_ckpt: {tmp_path / 'teacher.pth'}}}")
    config.write_text(text.replace("num_epochs: 1", "num_epochs: 2"))
    original, calls = Trainer._epoch, []

    def once(self):
        if calls:
            raise KeyboardInterrupt
        calls.append(None)
        return original(self)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_epoch", once)
        with pytest.raises(KeyboardInterrupt):
            train(config, run_dir=tmp_path / "run", device="cpu")
    return config, tmp_path / "run"


def edit(config, *pairs):
    text = config.read_text()
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    config.write_text(text)


def test_a_run_goes_on_with_files_that_lie_elsewhere(cut, caplog):
    config, folder = cut
    moved = config.parent / "moved.pth"
    (config.parent / "teacher.pth").rename(moved)
    edit(config, ("teacher.pth", "moved.pth"), ("num_workers: 0", "num_workers: 1"))
    with caplog.at_level(logging.WARNING):
        assert train(config, run_dir=folder, device="cpu", resume=True)["epochs"] == 2
    assert f"models.teacher_model.src_ckpt: {moved}" in caplog.text
    assert "train.train_data_loader.kwargs.num_workers: 1 (was 0)" in caplog.text


def test_other_weights_of_the_teacher_are_another_run(cut):
    config, folder = cut
    torch.manual_seed(1)
    torch.save(blobs.blob_net().state_dict(), config.parent / "teacher.pth")
    with pytest.raises(CheckpointError, match="the teacher's weights have changed"):
        train(config, run_dir=folder, device="cpu", resume=True)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("__len__", lambda self: len(self.x) - 1, "train_data_loader had 32 images, now it has 31"),
        ("classes", ["a", "b", "c", "d"], "the classes of train.train_data_loader have changed"),
    ],
)
def test_other_images_are_another_run(cut, monkeypatch, name, value, message):
    config, folder = cut
    if name == "classes":
        original = blobs.Blobs.__init__

        def renamed(self, *args, **kwargs):
            original(self, *args, **kwargs)
            self.classes = value

        monkeypatch.setattr(blobs.Blobs, "__init__", renamed)
    else:
        monkeypatch.setattr(blobs.Blobs, name, value)
    with pytest.raises(CheckpointError, match=message):
        train(config, run_dir=folder, device="cpu", resume=True)


def test_what_is_trained_may_not_change(cut):
    config, folder = cut
    edit(config, ("lr: 0.05", "lr: 0.04"))
    with pytest.raises(RunError, match=r"another config \(train.optimizer.kwargs.lr is 0.05 there, 0.04 here\)"):
        train(config, run_dir=folder, device="cpu", resume=True)
