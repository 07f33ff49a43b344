"""Progress bars are for a terminal: a file or pipe gets none of them."""

import small_configs
import torch
from torch import nn
from torch.utils.data import TensorDataset

from kd_plugins.cli import main
from kd_plugins.statistics.teacher_features import TeacherFeatures


def test_commands_are_silent_in_a_pipe(tmp_path, capsys):
    config = small_configs.write(tmp_path, EPOCHS=1)
    assert main(["train", str(config), "--run-dir", str(tmp_path / "run"), "--device", "cpu"]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if ": warning: " not in line]
    assert [line[:10] for line in lines] == ["epoch 1/1:"]
    command = ["test", str(config), "--checkpoint", str(tmp_path / "run" / "best.pt"), "--device", "cpu"]
    assert main([*command, "--compare-teacher"]) == 0
    assert capsys.readouterr().err == ""


def test_a_fit_is_silent_in_a_pipe(capsys):
    teacher = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    data = TensorDataset(torch.randn(6, 3, 8, 8), torch.arange(6) % 4)
    stream = TeacherFeatures(teacher, teacher[0], data, batch_size=2, progress=True)
    assert len(list(stream.blocks("fit"))) == 3
    assert capsys.readouterr().err == ""
