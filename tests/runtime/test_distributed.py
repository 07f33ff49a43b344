import json
import os

import blobs
import pytest
import small_configs
import torch
import train_and_dump
from several_processes import command, together, torchrun
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, RandomSampler, SequentialSampler

from kd_plugins._errors import ConfigError
from kd_plugins.runtime.distributed import own_samples, pick_device, shard_samplers
from kd_plugins.training.train import train


def test_two_processes_equal_one_with_the_doubled_batch(tmp_path):
    """Fixed order, no batch norm: the mean of two gradients is the gradient of the doubled batch."""
    parts = {"SAMPLER": "SequentialSampler", "EPOCHS": 2}
    for name, batch in (("one", 16), ("two", 8)):
        (tmp_path / name).mkdir()
        small_configs.write(tmp_path / name, BATCH=batch, **parts)
    train(tmp_path / "one" / "small.yaml", run_dir=tmp_path / "one" / "run", device="cpu")
    done = together(train_and_dump.main, tmp_path / "two" / "small.yaml", tmp_path / "two")
    assert done.returncode == 0, done.stderr[-2000:]
    ranks = [torch.load(tmp_path / "two" / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]
    one = torch.load(tmp_path / "one" / "run" / "last.pt", weights_only=True)["model"]
    for name, value in one.items():
        assert torch.equal(ranks[0][name], ranks[1][name]), name
        torch.testing.assert_close(ranks[0][name], value, rtol=1e-5, atol=1e-5)
    summaries = [json.loads((tmp_path / name / "run" / "summary.json").read_text()) for name in ("one", "two")]
    metrics = [(tmp_path / name / "run" / "metrics.jsonl").read_text().splitlines() for name in ("one", "two")]
    # 45 images over two processes: one is padding.
    assert summaries[0]["test_last"] == pytest.approx(summaries[1]["test_last"], rel=1e-5)
    assert summaries[0]["teacher"].pop("weights") == summaries[1]["teacher"].pop("weights")
    assert summaries[0]["teacher"] == pytest.approx(summaries[1]["teacher"], rel=1e-5)
    for one_line, two_line in zip(*metrics, strict=True):
        assert json.loads(two_line)["terms"] == pytest.approx(json.loads(one_line)["terms"], rel=1e-5)


def test_the_command_line_under_torchrun_trains_resumes_and_reports_once(tmp_path):
    config = small_configs.write(tmp_path, EPOCHS=2, BATCH=8, SAMPLES=44)
    arguments = ("train", config, "--run-dir", tmp_path / "run", "--device", "cpu")
    done = torchrun("-m", "kd_plugins", *arguments)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("student, best") == 1
    weights = torch.load(tmp_path / "run" / "last.pt", weights_only=True)["model"]
    # a run cut off after its first epoch, gone on with
    (tmp_path / "run" / "summary.json").unlink()
    os.replace(tmp_path / "run" / "previous.pt", tmp_path / "run" / "last.pt")
    done = together(command, *arguments, "--resume")
    assert done.returncode == 0, done.stderr[-2000:]
    again = torch.load(tmp_path / "run" / "last.pt", weights_only=True)["model"]
    for name, value in weights.items():
        assert torch.equal(again[name], value), name
    # the number of processes is part of what a run is
    (tmp_path / "run" / "summary.json").unlink()
    done = together(command, *arguments, "--resume", processes=1)
    assert done.returncode != 0
    assert "was started with world_size 2 (now 1)" in done.stderr


def loader(total, rank, *, drop_last=False):
    data = torch.arange(total)
    sampler = DistributedSampler(data, num_replicas=4, rank=rank, shuffle=True, drop_last=drop_last)
    return DataLoader(data, batch_size=3, sampler=sampler)


@pytest.mark.parametrize("total", [4, 10, 13, 16])
def test_padding_is_left_out_of_the_count(total):
    seen = []
    for rank in range(4):
        own = torch.cat(list(loader(total, rank)))
        seen += own[: own_samples(loader(total, rank))].tolist()
    assert sorted(seen) == list(range(total))


def test_nothing_is_padding_elsewhere():
    assert own_samples(DataLoader(torch.arange(5))) is None
    assert own_samples(loader(10, 0, drop_last=True)) is None


def test_samplers_keep_their_meaning():
    stage = {
        "train_data_loader": {"sampler": {"class_or_func": RandomSampler}},
        "val_data_loader": {"sampler": {"class_or_func": SequentialSampler, "kwargs": None}},
    }
    for _ in range(2):  # an alias brings the same loader again
        shard_samplers(stage, 7)
    assert stage["train_data_loader"]["sampler"]["kwargs"] == {"shuffle": True, "seed": 7}
    assert stage["val_data_loader"]["sampler"]["kwargs"] == {"shuffle": False, "seed": 7}


@pytest.mark.parametrize(
    ("sampler", "message"),
    [
        ({"class_or_func": BatchSampler}, "sampler BatchSampler cannot be split over several processes"),
        (
            {"class_or_func": RandomSampler, "kwargs": {"replacement": True}},
            "are not supported in several processes",
        ),
    ],
)
def test_samplers_that_cannot_be_split(sampler, message):
    with pytest.raises(ConfigError, match=message):
        shard_samplers({"train_data_loader": {"sampler": sampler}}, 0)


def test_an_absent_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto").type == "cpu"
    with pytest.raises(ConfigError, match="--device cuda: torch finds no CUDA device; use --device cpu"):
        pick_device("cuda")
    with pytest.raises(ValueError, match="--device must be one of"):
        pick_device("tpu")


def test_more_processes_than_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(ConfigError, match="process 1 on this machine has no GPU"):
        pick_device("cuda")


def test_a_model_without_trainable_parameters_is_not_wrapped():
    from kd_plugins.runtime.distributed import Processes, wrap_student

    model = nn.Linear(2, 2).requires_grad_(False)
    assert wrap_student(model, Processes(0, 2, torch.device("cpu")), {}) is model


def test_a_parameter_that_no_loss_reaches_stays_as_it_is_in_two_processes_too(tmp_path):
    """As in one process, where weight decay does not touch it either."""
    config = blobs.write(tmp_path, STUDENT_KWARGS=", unused: True")
    config.write_text(config.read_text().replace("num_epochs: 1", "num_epochs: 2"))
    done = together(train_and_dump.main, config, tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    ranks = [torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]
    assert torch.equal(ranks[0]["extra"], torch.ones(3))
    for name, value in ranks[0].items():
        if "running" not in name:
            assert torch.equal(ranks[1][name], value), name
    assert "1 parameters of the student get no gradient from any term and are frozen: extra" in done.stderr


def test_looking_for_unreached_parameters_changes_nothing(tmp_path):
    from kd_plugins.config.config import read_config
    from kd_plugins.runtime.checkpoint import random_state
    from kd_plugins.runtime.distributed import Processes
    from kd_plugins.training.run_folder import Options, RunFolder
    from kd_plugins.training.trainer import Trainer
    from kd_plugins.training.unreached import freeze_unreached

    alone = Processes(0, 1, torch.device("cpu"))
    config = read_config(blobs.write(tmp_path, STUDENT_KWARGS=", unused: True"))
    made = Trainer(config, RunFolder(tmp_path / "run"), Options(seed=0, amp="no", world_size=1), alone)
    before = {name: tensor.clone() for name, tensor in made.student.state_dict().items()}
    randoms = random_state(made.box.train_data_loader)
    freeze_unreached(made.box, made.box.student_model, alone, 0)
    for name, tensor in made.student.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert torch.equal(random_state(made.box.train_data_loader)["torch"], randoms["torch"])
    assert [name for name, p in made.student.named_parameters() if not p.requires_grad] == ["extra"]
    assert all(p.grad is None for p in made.student.parameters())
