"""Metrics over the epochs of runs."""

import json

import pytest

from kd_plugins.cli import main

CONFIG = "models: {}\ntrain: {}\n"
"""A config that no other analysis could build."""


def write_run(folder, *lines):
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def line(epoch, loss, top1):
    return {"epoch": epoch, "lr": 0.1, "loss": loss, "terms": {"ce": loss}, "val": {"top1": top1, "nll": 1.0}}


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kd.yaml").write_text(CONFIG)
    write_run(tmp_path / "runs/kd/seed0", line(1, 2.0, 50.0), line(2, 1.0, 60.0), line(3, 0.5, 62.0))
    write_run(tmp_path / "runs/kd/seed1", line(1, 4.0, 40.0), line(2, 2.0, 70.0))  # unfinished
    write_run(tmp_path / "runs/ce/seed0", line(1, 3.0, 30.0), line(2, 3.0, 40.0))
    return tmp_path


def test_seeds_are_averaged_at_the_epochs_that_all_have(runs, capsys):
    arguments = ["--what", "curves", "--checkpoint", "kd=runs/kd", "--checkpoint", "runs/ce/seed0"]
    assert main(["analyze", "kd.yaml", *arguments]) == 0
    found = json.loads((runs / "analysis/curves.json").read_text())
    assert found["keys"] == ["loss", "val.top1"]
    loss = found["runs"]["kd"]["curves"]["loss"]
    assert loss["epochs"] == [1, 2]
    assert loss["mean"] == [3, 1.5]
    assert loss["sd"] == pytest.approx([2**0.5, 0.5**0.5])
    assert loss["seeds"] == [[2, 1], [4, 2]]
    assert found["runs"]["ce"]["curves"]["loss"]["sd"] == [0, 0]
    assert (runs / "analysis/curves.png").read_bytes().startswith(b"\x89PNG")
    row = next(row for row in capsys.readouterr().out.splitlines() if row.startswith("kd") and "val.top1" in row)
    assert row.split()[:6] == ["kd", "2", "val.top1", "45", "+-", "7.1"]
    assert row.endswith("65 (epoch 2)")


def test_the_config_names_the_runs_and_keys_are_chosen(runs):
    assert main(["analyze", "kd.yaml", "--what", "curves", "--keys", "terms.ce", "lr", "val.nll"]) == 0
    found = json.loads((runs / "analysis/curves.json").read_text())
    assert list(found["runs"]) == ["kd"]
    assert list(found["runs"]["kd"]["curves"]) == ["terms.ce", "lr", "val.nll"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--keys", "val.top"], "--keys: the runs have no 'val.top' in metrics.jsonl; did you mean 'val.top1'"),
        (["--checkpoint", "kd=runs"], "runs holds no run: neither it nor a subfolder has metrics.jsonl"),
        (["--checkpoint", "bad=bad"], "bad/metrics.jsonl is damaged"),
    ],
)
def test_refuses(runs, capsys, arguments, message):
    write_run(runs / "bad")
    (runs / "bad/metrics.jsonl").write_text("{")
    assert main(["analyze", "kd.yaml", "--what", "curves", *arguments]) == 2
    assert message in capsys.readouterr().err
