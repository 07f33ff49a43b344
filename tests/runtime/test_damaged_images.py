"""A damaged image ends every command in one message with its name."""

import folder_configs
import pytest
import torch

from kd_plugins.cli import main
from kd_plugins.models import CIFAR_MODELS


@pytest.mark.parametrize(("split", "workers"), [("train", 0), ("val", 0), ("val", 2)])
def test_training_names_it(tmp_path, capsys, split, workers):
    path = folder_configs.write(tmp_path)
    folder_configs.cut_short(tmp_path / split / "c" / "cut.jpg")
    settings = [f"train.{loader}_data_loader.kwargs.num_workers={workers}" for loader in ("train", "val")]
    assert main(["train", str(path), "--run-dir", str(tmp_path / "run"), "--device", "cpu", "--set", *settings]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert len(lines) == 1
    assert lines[0].startswith(f"kd-plugins: error: image {tmp_path}/{split}/c/cut.jpg is damaged: ")


def test_testing_names_it(tmp_path, capsys):
    path = folder_configs.write(tmp_path)
    path.write_text(
        "".join(
            "  model: {key: cifar_resnet8, kwargs: {num_classes: 3}}\n" if "timm_model" in line else line
            for line in path.read_text().splitlines(keepends=True)
        )
    )
    torch.save(CIFAR_MODELS["cifar_resnet8"](num_classes=3).state_dict(), tmp_path / "student.pt")
    arguments = ["test", str(path), "--checkpoint", str(tmp_path / "student.pt"), "--device", "cpu"]
    assert main(arguments) == 0
    folder_configs.cut_short(tmp_path / "val" / "c" / "cut.jpg")
    assert main(arguments) == 2
    assert "error: image" in capsys.readouterr().err
