"""A resumed run equals the uninterrupted one bit for bit, wherever it was killed."""

import json
import os
import random
import time

import numpy as np
import pytest
import small_configs
import torch
from several_processes import command, start

from kd_plugins.runtime.checkpoint import CheckpointError, load_state, random_state, save_state, set_random_state
from kd_plugins.runtime.seed import seed_everything
from kd_plugins.training.run_folder import RunError
from kd_plugins.training.train import train
from kd_plugins.training.trainer import Trainer

RANDOM_AUGMENTATION = small_configs.TEMPLATE.replace(
    "train: True, transform: !import_call {key: torchvision.transforms.ToTensor}",
    "train: True, transform: !import_call {key: torchvision.transforms.Compose, init: {args: [["
    "!import_call {key: torchvision.transforms.RandomCrop, init: {kwargs: {size: 32, padding: 4}}}, "
    "!import_call {key: torchvision.transforms.ToTensor}]]}}",
)
# Dropout draws from torch's generator, the crop from torch's, a Cutout of ours would draw from numpy's.
PARTS = {"STUDENT_KWARGS": ", drop_rate: 0.2", "EPOCHS": 3}


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setattr(small_configs, "TEMPLATE", RANDOM_AUGMENTATION)
    return small_configs.write(tmp_path, **PARTS)


def final(folder):
    state = load_state(folder)
    return {
        **{f"model.{k}": v for k, v in state["model"].items()},
        **{f"momentum.{i}": s["momentum_buffer"] for i, s in state["optimizer"]["state"].items()},
        "torch": state["random"][0]["torch"],
        "metrics": [{k: v for k, v in line.items() if k != "seconds"} for line in state["history"]],
        "schedule": state["scheduler"]["last_epoch"],
        "best": state["progress"]["best_epoch"],
    }


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        same = torch.equal(found[name], value) if isinstance(value, torch.Tensor) else found[name] == value
        assert same, name


class KilledError(Exception):
    pass


def interrupt(monkeypatch, method, *, call):
    """Make the nth call of a Trainer method fail half way, as a kill between its lines would."""
    original, calls = getattr(Trainer, method), []

    def failing(self, *args, **kwargs):
        calls.append(None)
        if len(calls) == call:
            raise KilledError
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Trainer, method, failing)


@pytest.mark.parametrize(("method", "call"), [("_epoch", 2), ("_save", 2), ("_end_epoch", 3), ("_finish", 1)])
def test_resume_is_bit_exact(tmp_path, config, monkeypatch, method, call):
    train(config, run_dir=tmp_path / "whole", device="cpu")
    with monkeypatch.context() as patch:
        interrupt(patch, method, call=call)
        with pytest.raises(KilledError):
            train(config, run_dir=tmp_path / "cut", device="cpu")
    torch.manual_seed(99)  # whatever ran in between must not matter
    train(config, run_dir=tmp_path / "cut", device="cpu", resume=True)
    assert_same(final(tmp_path / "cut"), final(tmp_path / "whole"))
    summaries = [json.loads((tmp_path / name / "summary.json").read_text()) for name in ("cut", "whole")]
    for name in ("test_best", "test_last", "best_epoch", "teacher", "teacher_unchanged"):
        assert summaries[0][name] == summaries[1][name], name
    metrics = [(tmp_path / name / "metrics.jsonl").read_text().count("\n") for name in ("cut", "whole")]
    assert metrics == [3, 3]


def test_resume_after_sigkill(tmp_path, config):
    """A real process, really killed, at a moment nobody chose."""
    train(config, run_dir=tmp_path / "whole", device="cpu")
    process = start(command, "train", config, "--run-dir", tmp_path / "cut", "--device", "cpu")
    deadline = time.monotonic() + 300
    while not (tmp_path / "cut" / "last.pt").exists() and process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.005)
    process.kill()
    process.join()
    train(config, run_dir=tmp_path / "cut", device="cpu", resume=True)
    assert_same(final(tmp_path / "cut"), final(tmp_path / "whole"))


def test_pending_gradients_are_part_of_the_state(tmp_path, config, monkeypatch):
    """Three steps an epoch, a step of the optimizer every two: an epoch ends with half a step's gradients."""
    config.write_text(config.read_text().replace("momentum: 0.9}", "momentum: 0.9}, grad_accum_step: 2"))
    train(config, run_dir=tmp_path / "whole", device="cpu")
    with monkeypatch.context() as patch:
        interrupt(patch, "_epoch", call=2)
        with pytest.raises(KilledError):
            train(config, run_dir=tmp_path / "cut", device="cpu")
    assert load_state(tmp_path / "cut")["gradients"] is not None
    train(config, run_dir=tmp_path / "cut", device="cpu", resume=True)
    assert_same(final(tmp_path / "cut"), final(tmp_path / "whole"))


def test_fp16_scale_survives(tmp_path, config, monkeypatch):
    train(config, run_dir=tmp_path / "whole", device="cpu", amp="fp16")
    with monkeypatch.context() as patch:
        interrupt(patch, "_epoch", call=3)
        with pytest.raises(KilledError):
            train(config, run_dir=tmp_path / "cut", device="cpu", amp="fp16")
    train(config, run_dir=tmp_path / "cut", device="cpu", amp="fp16", resume=True)
    whole, cut = (load_state(tmp_path / name) for name in ("whole", "cut"))
    assert cut["scaler"] == whole["scaler"]
    assert torch.equal(cut["model"]["head.weight"], whole["model"]["head.weight"])


def test_resume_in_the_second_stage(tmp_path, monkeypatch):
    config = tmp_path / "two.yaml"
    config.write_text(small_configs.two_stages())
    train(config, run_dir=tmp_path / "whole", device="cpu")
    for call in (2, 3):  # right after the first stage, and inside the second
        with monkeypatch.context() as patch:
            interrupt(patch, "_epoch", call=call)
            with pytest.raises(KilledError):
                train(config, run_dir=tmp_path / f"cut{call}", device="cpu")
        train(config, run_dir=tmp_path / f"cut{call}", device="cpu", resume=True)
        whole, cut = (load_state(tmp_path / name) for name in ("whole", f"cut{call}"))
        for name, value in whole["model"].items():
            assert torch.equal(cut["model"][name], value), name
        assert [line["stage"] for line in cut["history"]] == ["stage1", "stage2", "stage2"]


def test_a_finished_run_is_not_trained_again(tmp_path, config, monkeypatch):
    first = train(config, run_dir=tmp_path / "run", device="cpu")
    interrupt(monkeypatch, "_epoch", call=1)
    assert train(config, run_dir=tmp_path / "run", device="cpu", resume=True) == first


@pytest.mark.parametrize("damage", ["truncated", "foreign", "newer"])
def test_a_bad_checkpoint_says_so_and_leaves_the_previous_one(tmp_path, config, monkeypatch, damage):
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        interrupt(patch, "_epoch", call=3)
        with pytest.raises(KilledError):
            train(config, run_dir=run, device="cpu")
    last = run / "last.pt"
    if damage == "truncated":
        last.write_bytes(last.read_bytes()[:-2000])
    elif damage == "foreign":
        torch.save({"model": {}}, last)
    else:
        torch.save({**torch.load(last, weights_only=True), "format_version": 99}, last)
    message = {
        "truncated": r"last.pt is truncated, damaged or not a checkpoint .*rename .*previous.pt to last.pt and resume",
        "foreign": r"last.pt is not the state of a kd-plugins run; the previous checkpoint still exists",
        "newer": r"last.pt has format version 99",
    }[damage]
    with pytest.raises(CheckpointError, match=message):
        train(config, run_dir=run, device="cpu", resume=True)
    os.replace(run / "previous.pt", last)  # what the message says to do
    train(config, run_dir=run, device="cpu", resume=True)
    train(config, run_dir=tmp_path / "whole", device="cpu")
    assert_same(final(run), final(tmp_path / "whole"))


def test_a_kill_while_a_checkpoint_is_written_leaves_the_last_one(tmp_path, monkeypatch):
    state = {"value": 1}
    save_state(tmp_path, state)

    def dies(payload, path):
        path.write_bytes(b"half")
        raise KilledError

    monkeypatch.setattr(torch, "save", dies)
    with pytest.raises(KilledError):
        save_state(tmp_path, {"value": 2})
    assert load_state(tmp_path)["value"] == 1
    assert {p.name for p in tmp_path.iterdir()} == {"last.pt", "previous.pt"}


def test_a_checkpoint_runs_no_code(tmp_path):
    class Code:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    torch.save(Code(), tmp_path / "last.pt")
    with pytest.raises(CheckpointError, match="would run code when it is loaded"):
        load_state(tmp_path)
    assert not (tmp_path / "executed").exists()


def test_what_a_folder_holds_decides(tmp_path, config):
    run = tmp_path / "run"
    train(config, run_dir=run, device="cpu", overrides=["train.num_epochs=1"])
    contents = {p.name: p.read_bytes() for p in run.iterdir()}
    cases = [
        ({}, r"holds a run of another config \(train.num_epochs is 1 there, 3 here\)\. Nothing was changed"),
        ({"overrides": ["train.num_epochs=1"]}, r"already holds a run of this config; add --resume"),
        (
            {"overrides": ["train.num_epochs=1"], "resume": True, "seed": 5},
            r"was started with seed 0 \(now 5\)",
        ),
        ({"overrides": ["train.num_epochs=1"], "resume": True, "amp": "bf16"}, r"with amp no \(now bf16\)"),
    ]
    for asked, message in cases:
        with pytest.raises(RunError, match=message):
            train(config, run_dir=run, device="cpu", **asked)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("years of work")
    with pytest.raises(RunError, match="holds other files but no run"):
        train(config, run_dir=tmp_path / "full", device="cpu")
    with pytest.raises(RunError, match="is a file; name a folder"):
        train(config, run_dir=config, device="cpu")
    with pytest.raises(RunError, match="holds no run to resume"):
        train(config, run_dir=tmp_path / "none", device="cpu", resume=True)
    assert not (tmp_path / "none").exists()
    assert {p.name: p.read_bytes() for p in run.iterdir()} == contents


def test_comments_and_formatting_do_not_make_another_config(tmp_path, config):
    run = tmp_path / "run"
    first = train(config, run_dir=run, device="cpu")
    config.write_text("# a note\n" + config.read_text().replace("log_freq: 1", "log_freq:   1"))
    assert train(config, run_dir=run, device="cpu", resume=True) == first


@pytest.mark.parametrize("cuda", [False, True])
def test_every_generator_goes_on_where_it_was(tmp_path, monkeypatch, cuda):
    """The state passes through a file, as in a run. A generator of the CPU stands in for that of a GPU."""
    gpu = torch.Generator().manual_seed(1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "get_rng_state", gpu.get_state)
    monkeypatch.setattr(torch.cuda, "set_rng_state", gpu.set_state)
    order = torch.Generator().manual_seed(2)
    loader = torch.utils.data.DataLoader(range(100), shuffle=True, generator=order)

    def draws():
        # gauss and randn make two numbers at a time and keep one: an odd number of calls leaves one behind.
        return {
            "python": (random.gauss(0, 1), random.random(), random.gauss(0, 1), random.gauss(0, 1)),
            "numpy": (np.random.randn(), np.random.rand(), np.random.randn(), np.random.randn()),
            "torch": torch.rand(1).item(),
            "loader": torch.rand(1, generator=order).item(),
            **({"cuda": torch.rand(1, generator=gpu).item()} if cuda else {}),
        }

    seed_everything(3)
    random.gauss(0, 1)
    np.random.randn()
    save_state(tmp_path, {"random": random_state(loader)})
    expected = draws()
    assert draws() != expected
    set_random_state(load_state(tmp_path)["random"], loader)
    found = draws()
    for name, value in expected.items():
        assert found[name] == value, name


def test_seeding_covers_every_generator():
    draws = []
    for _ in range(2):
        seed_everything(4)
        draws.append((random.random(), np.random.rand(), torch.rand(1).item()))
    assert draws[0] == draws[1]
