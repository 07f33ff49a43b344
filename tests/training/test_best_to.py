"""`kd-plugins train --best-to FILE`: the weights where another config looks for them."""

import small_configs
import torch

from kd_plugins.cli import main
from kd_plugins.training.train import train


def test_the_best_weights_are_a_state_dict_that_a_config_loads(tmp_path, capsys):
    config = small_configs.write(tmp_path, **small_configs.without_teacher(EPOCHS=2))
    file, run = tmp_path / "new" / "teacher.pth", tmp_path / "run"
    command = ["train", str(config), "--run-dir", str(run), "--device", "cpu", "--best-to", str(file)]
    assert main(command) == 0
    best = torch.load(run / "best.pt", weights_only=True)["model"]
    held = torch.load(file, weights_only=True)
    assert held.keys() == best.keys()
    assert all(torch.equal(held[name], best[name]) for name in held)
    assert [p.name for p in file.parent.iterdir()] == ["teacher.pth"]
    start = [f"models.student_model.src_ckpt={file}", "train.num_epochs=1"]
    train(config, run_dir=tmp_path / "again", device="cpu", overrides=start)
    file.write_bytes(b"mine")
    assert main(command) == 2
    assert f"--best-to {file} exists; name another file, or replace it with --force" in capsys.readouterr().err
    assert file.read_bytes() == b"mine"
    # The run is finished: only the file is written.
    assert main([*command, "--resume", "--force"]) == 0
    assert torch.load(file, weights_only=True).keys() == best.keys()


def test_a_place_that_cannot_be_written_is_refused_before_the_training(tmp_path, capsys):
    config = small_configs.write(tmp_path)
    run = tmp_path / "run"
    (tmp_path / "file").touch()
    for place, message in ((tmp_path, "is a folder"), (tmp_path / "file" / "x.pth", "cannot be written")):
        assert main(["train", str(config), "--run-dir", str(run), "--best-to", str(place)]) == 2
        assert message in capsys.readouterr().err
    assert main(["train", str(config), "--seeds", "0,1", "--best-to", "x.pth"]) == 2
    assert "--best-to takes one model" in capsys.readouterr().err
    assert not run.exists()
