"""A run folder has one owner, holds whole files, and is claimed by what was trained in it."""

import json
import multiprocessing
import os
import resource
import signal
from pathlib import Path

import blobs
import pytest
import torch
from several_processes import alone, command, start

from kd_plugins.cli import main
from kd_plugins.reports.runs import finished_runs
from kd_plugins.runtime.checkpoint import CheckpointError
from kd_plugins.runtime.checksums import DamagedFileError, load_checked
from kd_plugins.runtime.ownership import OwnedError, owned
from kd_plugins.runtime.run_names import default_run_folder
from kd_plugins.training.run_folder import RunError
from kd_plugins.training.train import train
from kd_plugins.training.trainer import Trainer


@pytest.fixture
def config(tmp_path):
    path = blobs.write(tmp_path)
    path.write_text(path.read_text().replace("num_epochs: 1", "num_epochs: 2"))
    return path


def cut_after_one_epoch(config, folder, monkeypatch):
    original, calls = Trainer._epoch, []

    def once(self):
        if calls:
            raise KeyboardInterrupt
        calls.append(None)
        return original(self)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_epoch", once)
        with pytest.raises(KeyboardInterrupt):
            train(config, run_dir=folder, device="cpu")


# One environment


def test_other_threads_are_said_and_need_to_be_accepted(tmp_path, config, monkeypatch, caplog):
    run = tmp_path / "run"
    cut_after_one_epoch(config, run, monkeypatch)
    threads = torch.get_num_threads()
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads + 1)
    with pytest.raises(RunError, match=rf"started with threads {threads} \(now {threads + 1}\).*--accept-changes"):
        train(config, run_dir=run, device="cpu", resume=True)
    assert train(config, run_dir=run, device="cpu", resume=True, accept_changes=True)["epochs"] == 2
    assert f"another environment: threads {threads} (now {threads + 1})" in caplog.text
    # What is finished does not go on, so nothing about it can change.
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads + 2)
    assert train(config, run_dir=run, device="cpu", resume=True)["epochs"] == 2


# One owner


def hold(folder, ready, leave):
    with owned(folder):
        ready.set()
        leave.wait(300)


def test_two_processes_do_not_train_in_one_folder(tmp_path, config):
    context = multiprocessing.get_context("forkserver")
    ready, leave = context.Event(), context.Event()
    other = start(hold, tmp_path / "run", ready, leave)
    assert ready.wait(300)
    with pytest.raises(OwnedError, match="another process is using"):
        train(config, run_dir=tmp_path / "run", device="cpu")
    other.kill()  # the system lets the folder go
    other.join()
    (tmp_path / "run" / ".last.pt.12.tmp").write_bytes(b"half")
    assert train(config, run_dir=tmp_path / "run", device="cpu")["epochs"] == 2
    assert not [p.name for p in (tmp_path / "run").iterdir() if p.name.startswith(".")]


@pytest.mark.parametrize("method", ["_epoch", "_save", "__init__"])
def test_a_failure_before_the_first_checkpoint_leaves_no_claim(tmp_path, config, monkeypatch, method):
    def fail(self, *_args, **_kwargs):
        raise ValueError("something in the config")

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, method, fail)
        with pytest.raises(ValueError, match="something in the config"):
            train(config, run_dir=tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()
    config.write_text(config.read_text().replace("lr: 0.05", "lr: 0.04"))
    assert train(config, run_dir=tmp_path / "run", device="cpu")["epochs"] == 2


# Damage


def flip(path, position):
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(bytes(data))


def in_a_tensor(path):
    """Return a position inside the largest tensor of a file that torch wrote."""
    import zipfile

    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda entry: entry.file_size)
    header = 30 + len(largest.filename)
    return largest.header_offset + header + 200


@pytest.mark.parametrize("name", ["last.pt", "best.pt"])
def test_one_flipped_byte_of_a_checkpoint_is_noticed(tmp_path, config, monkeypatch, name):
    run = tmp_path / "run"
    cut_after_one_epoch(config, run, monkeypatch)
    flip(run / name, in_a_tensor(run / name))
    with pytest.raises(CheckpointError, match=rf"{name} is damaged: the checksum of .* does not match"):
        train(config, run_dir=run, device="cpu", resume=True)


@pytest.mark.parametrize("name", ["run.json", "config.yaml"])
def test_a_changed_text_file_is_noticed(tmp_path, config, monkeypatch, name):
    run = tmp_path / "run"
    cut_after_one_epoch(config, run, monkeypatch)
    text = (run / name).read_text()
    (run / name).write_text(text.replace("0", "1", 1))
    with pytest.raises(DamagedFileError, match=rf"{name} is damaged"):
        train(config, run_dir=run, device="cpu", resume=True)
    (run / name).write_text(text[: len(text) // 2])
    with pytest.raises(DamagedFileError, match=rf"{name} is damaged"):
        train(config, run_dir=run, device="cpu", resume=True)
    (run / name).unlink()
    with pytest.raises(DamagedFileError, match=rf"{name} is missing"):
        train(config, run_dir=run, device="cpu", resume=True)


def test_a_best_checkpoint_that_is_gone_cut_or_another_runs_is_noticed(tmp_path, config, monkeypatch):
    run = tmp_path / "run"
    cut_after_one_epoch(config, run, monkeypatch)
    best = run / "best.pt"
    data = best.read_bytes()
    for contents, message in (
        (data[: len(data) // 2], "best.pt is truncated, damaged or not a checkpoint"),
        (b"<html>", "best.pt is truncated, damaged or not a checkpoint"),
    ):
        best.write_bytes(contents)
        with pytest.raises(CheckpointError, match=message):
            train(config, run_dir=run, device="cpu", resume=True)
    torch.save({"model": {}, "best_value": 1.0, "epoch": 0}, best)
    with pytest.raises(CheckpointError, match=r"best.pt is from epoch 0, but the best epoch of this run is 1"):
        train(config, run_dir=run, device="cpu", resume=True)
    torch.save([1], best)
    with pytest.raises(CheckpointError, match="is not the best checkpoint"):
        train(config, run_dir=run, device="cpu", resume=True)
    best.unlink()
    with pytest.raises(CheckpointError, match=r"best.pt does not exist"):
        train(config, run_dir=run, device="cpu", resume=True)


class RunsCode:
    def __reduce__(self):
        return os.system, ("touch executed",)


def test_what_would_run_code_is_called_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"model": RunsCode()}, tmp_path / "evil.pt")
    with pytest.raises(DamagedFileError, match=r"would run code when it is loaded .*system.*was executed"):
        load_checked(tmp_path / "evil.pt")
    assert not (tmp_path / "executed").exists()


def test_a_report_names_the_damaged_file(tmp_path, config):
    train(config, run_dir=tmp_path / "run", device="cpu")
    assert len(finished_runs([tmp_path / "run"])) == 1
    summary = tmp_path / "run" / "summary.json"
    whole = summary.read_text()
    summary.write_text(whole[:40])
    with pytest.raises(DamagedFileError, match=r"summary.json is damaged: it is not valid JSON"):
        finished_runs([tmp_path / "run"])
    summary.write_text(json.dumps({"test_best": {"top1": 100.0}}))
    with pytest.raises(DamagedFileError, match=r"summary.json has no checksum"):
        finished_runs([tmp_path / "run"])


# The operating system


def command_with_small_files(*arguments):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))
    command(*arguments)


def test_a_full_disk_is_one_message_and_loses_nothing(tmp_path, config):
    run = tmp_path / "run"
    done = alone(command_with_small_files, "train", config, "--run-dir", run, "--device", "cpu")
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "add --resume to continue" in done.stderr
    assert not list(tmp_path.glob("run/.*"))
    assert train(config, run_dir=run, device="cpu")["epochs"] == 2


def test_a_folder_that_is_deleted_while_training_is_one_message(tmp_path, config, monkeypatch, capsys):
    import shutil

    original = Trainer._epoch

    def delete(self):
        shutil.rmtree(self.folder.path)
        return original(self)

    monkeypatch.setattr(Trainer, "_epoch", delete)
    assert main(["train", str(config), "--run-dir", str(tmp_path / "run"), "--device", "cpu"]) == 2
    assert "kd-plugins: error: " in capsys.readouterr().err


@pytest.mark.parametrize("place", ["file/under", "missing/folder/x.json"])
def test_a_place_that_cannot_be_written_is_one_message(tmp_path, config, capsys, place):
    (tmp_path / "file").write_text("")
    assert main(["check", str(config), "--json", str(tmp_path / place)]) == 2
    found = capsys.readouterr().err
    assert found.count("kd-plugins: error:") == 1
    assert str(tmp_path / place.split("/")[0]) in found


def test_a_run_folder_under_a_file_is_one_message(tmp_path, config, capsys):
    (tmp_path / "file").write_text("")
    assert main(["train", str(config), "--run-dir", str(tmp_path / "file" / "run")]) == 2
    assert "Not a directory" in capsys.readouterr().err


def test_the_folder_that_no_argument_names_is_of_the_config_and_the_seed():
    assert default_run_folder(Path("configs/digits.yaml"), 3) == Path("runs/digits/seed3")
