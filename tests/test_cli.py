"""The command line as a person meets it: one message for a mistake, exit code 2, no traceback."""

import os
import subprocess
import sys

import pytest
import small_configs
import torch
from several_processes import alone, command

from kd_plugins.cli import main


def run(capsys, *arguments):
    code = main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_train_then_test(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = small_configs.write(tmp_path, EPOCHS=1)
    code, out, err = run(
        capsys, "train", config, "--device", "cpu", "--seed", 2, "--set", "train.log_freq=5", "--test-every", 1
    )
    assert code == 0
    assert '"test": {"top1": ' in (tmp_path / "runs/small/seed2/metrics.jsonl").read_text()
    assert "epoch 1/1: loss " in err
    assert "(ce " in err
    assert ", top-1 " in err
    assert "student, best: top-1" in out
    assert "unchanged; the student is" in out
    best = tmp_path / "runs" / "small" / "seed2" / "best.pt"  # the folder when none is named
    assert f"weights: {best.relative_to(tmp_path)}" in out
    code, tested, _ = run(capsys, "test", config, "--checkpoint", best, "--device", "cpu")
    assert code == 0
    trained = next(line for line in out.splitlines() if line.startswith("student, best"))
    assert tested.splitlines()[0] == "student: " + trained.removeprefix("student, best: ")
    assert tested.splitlines()[1].startswith("teacher: top-1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "none.yaml"), "config file none.yaml does not exist"),
        (("train", "small.yaml", "--device", "cuda"), "torch finds no CUDA device; use --device cpu"),
        (("train", "small.yaml", "--set", "train.num_epoch=3"), "did you mean 'num_epochs'?"),
        (("train", "small.yaml", "--run-dir", "taken"), "taken holds other files but no run"),
        (("train", "small.yaml", "--run-dir", "empty", "--resume"), "empty holds no run to resume"),
        (("test", "small.yaml", "--checkpoint", "none.pt"), "none.pt"),
        (("list", "loses"), "unknown kind 'loses'; did you mean 'losses'"),
        (("bench", "losses", "--rounds", "0"), "--rounds must be a finite number of at least 1, found 0"),
        (("demo", "--methods", "lsdk"), "unknown method 'lsdk'"),
        (("demo", "--seeds", "0,x"), "--seeds must be distinct whole numbers"),
        (("demo", "--trials", "3"), "--trials is no option of the demo on digits"),
        (("demo", "--dataset", "fashion-mnist", "--transforms", "none"), "--transforms is no option of the demo on"),
        (("demo", "--dataset", "fashion-mnist", "--teachers", "resnet"), "unknown teacher 'resnet'"),
        (("demo", "--seeds", "1,1"), "--seeds must be distinct whole numbers"),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_2(tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    small_configs.write(tmp_path)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").write_text("mine")
    before = sorted(p.name for p in tmp_path.rglob("*"))
    code, out, err = run(capsys, *arguments)
    assert code == 2
    assert out == ""
    assert err.startswith("kd-plugins: error: ")
    assert message in err
    assert err.count("\n") == 1
    assert sorted(p.name for p in tmp_path.rglob("*")) == before


def test_a_broken_config_prints_no_traceback_from_a_fresh_process(tmp_path, monkeypatch):
    config = tmp_path / "broken.yaml"
    config.write_text("models: [1, 2\ntrain: 3\n")
    fresh = [sys.executable, "-m", "kd_plugins", "train", str(config)]
    done = subprocess.run(fresh, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert "line 2, column 6: invalid YAML" in done.stderr
    assert "Traceback" not in done.stderr
    assert os.listdir(tmp_path) == ["broken.yaml"]
    monkeypatch.setenv("KD_PLUGINS_TRACEBACK", "1")
    done = alone(command, "train", config)
    assert "Traceback" in done.stderr


def test_a_config_with_a_mistake_can_be_corrected_and_run_in_the_same_folder(tmp_path, capsys):
    config = small_configs.write(tmp_path, EPOCHS=1)
    right = config.read_text()
    config.write_text(right.replace("LSKDLoss", "LSKDLos"))
    arguments = ("train", config, "--run-dir", tmp_path / "run", "--device", "cpu")
    assert run(capsys, *arguments)[0] == 2
    config.write_text(right)
    assert run(capsys, *arguments)[0] == 0


def test_list_names_everything_with_its_paper(capsys):
    code, out, _ = run(capsys, "list")
    assert code == 0
    for name in ("losses", "loss-wrappers", "model-wrappers", "models", "processes", "transforms"):
        assert f"{name}\n" in out
    lskd = next(line for line in out.splitlines() if line.strip().startswith("LSKDLoss"))
    assert "CVPR 2024" in lskd
    code, out, _ = run(capsys, "list", "losses")
    assert "timm_model" not in out


def test_version_and_help(capsys):
    for argument in ("--version", "--help"):
        with pytest.raises(SystemExit) as stopped:
            main([argument])
        assert stopped.value.code == 0
    assert "train" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "place", "message"),
    [
        (
            ("train", "small.yaml"),
            "kd_plugins.training.train.train",
            "add --resume to continue after the last finished epoch",
        ),
        (
            ("fit", "small.yaml"),
            "kd_plugins.fitting.fit.fit",
            "finished parts are kept, repeat the command to continue",
        ),
        (("demo",), "kd_plugins.demo.run_demo", "finished runs are kept, repeat the command to continue"),
        (("check", "small.yaml"), "kd_plugins.check.check_config", "kd-plugins: interrupted\n"),
    ],
)
def test_interrupting_says_how_to_go_on(capsys, monkeypatch, words, place, message):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(place, interrupted)
    code, _, err = run(capsys, *words)
    assert code == 130
    assert message in err
