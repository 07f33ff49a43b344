"""Where a config's training step spends its time."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import small_configs
import torch
from torchdistill.core.interfaces.registry import register_post_forward_proc_func

from kd_plugins.bench.config import bench_config
from kd_plugins.bench.steps.clock import Clock
from kd_plugins.bench.steps.time import ratios
from kd_plugins.bench.steps.training_step import TrainingStep
from kd_plugins.cli import main
from kd_plugins.config.config import read_config

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
LIGHT = [
    f"train.{side}_data_loader.kwargs.{item}"
    for side in ("train", "val")
    for item in ("num_workers=0", "pin_memory=False", "batch_size=2")
]
PARTS = [
    "loader", "teacher forward", "student forward", "term ce", "term lskd", "backward", "optimizer step", "rest",
]  # fmt: skip
own_steps = []


@register_post_forward_proc_func
def bench_own_process(box, loss, **kwargs):
    """Take the step as a config's own process would."""
    loss.backward()
    box.optimizer.step()
    box.optimizer.zero_grad()
    own_steps.append(loss.item())


def run(capsys, *arguments):
    code = main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def names(time):
    return [part.name for part in time.parts]


def test_table_and_json_tell_where_the_time_goes(tmp_path, capsys):
    config, file = small_configs.write(tmp_path), tmp_path / "bench.json"
    code, out, _ = run(capsys, "bench", config, "--rounds", 3, "--json", file)
    assert code == 0
    title, _head, *rows, speed = out.rstrip().splitlines()
    assert title == f"{config}: a step on cpu, batch 16, amp no"
    written = json.loads(file.read_text())
    assert [p.name for p in tmp_path.iterdir() if p.suffix in (".json", ".tmp")] == ["bench.json"]
    (time,) = written["times"]
    assert [part["name"] for part in time["parts"]] == PARTS
    assert sum(part["percent"] for part in time["parts"]) == pytest.approx(100)
    assert time["images_per_second"] == pytest.approx(16_000 / time["total"])
    assert speed == f"{time['images_per_second']:.1f} img/s"
    expected = [(p["name"], p["milliseconds"], p["percent"]) for p in time["parts"]]
    expected += [("step", time["step"], 100 - expected[0][2]), ("total", time["total"], 100.0)]
    for row, (name, milliseconds, percent) in zip(rows, expected, strict=True):
        assert row[: len("student forward")].strip() == name
        assert row[len("student forward") :].split()[:2] == [f"{milliseconds:.2f}", f"{percent:.1f}"]
        assert milliseconds >= 0
    own = {part["name"]: part["backward_milliseconds"] for part in time["parts"]}
    assert own["term ce"] > 0
    assert own["term lskd"] > 0
    assert own["backward"] is None
    assert (written["rounds"], written["images"], written["memory"]) == (3, [16], [])


def test_two_configs_take_turns(tmp_path):
    config = small_configs.write(tmp_path)
    plain = tmp_path / "plain.yaml"
    plain.write_text(small_configs.text(**small_configs.without_teacher()))
    bench = bench_config(config, against=[plain, config], rounds=2)
    first, second, third = bench.times
    assert names(first) == PARTS
    assert names(second) == [name for name in PARTS if name not in ("teacher forward", "term lskd")]
    assert names(third) == PARTS
    over_plain, over_itself = bench.ratios
    assert set(over_plain) == {"step", "total"}
    assert f"{config} over {plain}: step x {over_plain['step']:.3f}, total x" in bench.text()
    assert 0.1 < over_itself["step"] < 10


def test_ratios_are_medians_of_those_within_a_round():
    first, second = (SimpleNamespace(clock=Clock("cpu", warmup=1)) for _ in range(2))
    # The machine is slow in the last round: the ratios of 4/2, 2/2 and 30/10 have the median 2.
    for step, seconds in ((first, (9, 4, 2, 30, 7)), (second, (1, 2, 2, 10, 1))):
        step.clock.laps = [{"step": s, "total": 2 * s} for s in seconds]
    assert ratios(first, second, rounds=3) == {"step": 2, "total": 2}


def test_a_stage_s_own_terms_are_shown(tmp_path):
    path = tmp_path / "stages.yaml"
    path.write_text(small_configs.two_stages())
    (time,) = bench_config(path, rounds=1).times
    assert names(time) == PARTS


def test_a_step_with_accumulation_is_several_batches(tmp_path):
    path = small_configs.write(tmp_path, OPTIMIZER="\n    grad_accum_step: 2")
    path.write_text(path.read_text().replace("momentum: 0.9}\n    grad", "momentum: 0.9}, grad"))
    (time,) = bench_config(path, rounds=1).times
    assert time.images == 32
    assert next(part for part in time.parts if part.name == "optimizer step").milliseconds > 0


def test_every_config_keeps_its_own_process(tmp_path):
    own = tmp_path / "own.yaml"
    own.write_text(small_configs.text().replace("  log_freq: 1\n", "  post_forward_process: bench_own_process\n"))
    own_steps.clear()
    first, second = bench_config(own, against=[small_configs.write(tmp_path)], rounds=1).times
    assert "backward and optimizer step" in names(first)
    assert names(second) == PARTS
    assert len(own_steps) == 3 + 1 + 1  # warm-up, the round, and the one that the terms' own backward looks at


def test_the_measured_step_trains_the_student_alone_and_leaves_no_hook(tmp_path):
    config = read_config(small_configs.write(tmp_path))
    with TrainingStep(config, torch.device("cpu")) as step:
        teacher, student = step.box.teacher_model, step.student
        before = {name: model.state_dict() for name, model in (("teacher", teacher), ("student", student))}
        before = {side: {name: x.clone() for name, x in state.items()} for side, state in before.items()}
        for _ in range(4):  # more than an epoch
            step.run()
        assert all(torch.equal(x, before["teacher"][name]) for name, x in teacher.state_dict().items())
        assert not all(torch.equal(x, before["student"][name]) for name, x in student.state_dict().items())
        terms = list(step.terms.values())
    assert len(step.clock.laps) == 4
    assert not any(term._forward_hooks or term._forward_pre_hooks for term in terms)


@pytest.mark.parametrize("method", ["kd", "mlkd", "ctkd"])
def test_a_config_of_the_package_runs_without_its_data_and_weights(method):
    path = CONFIGS / "cifar100" / method / "resnet8x4_from_resnet32x4.yaml"
    bench = bench_config(path, fake_data=True, rounds=1, overrides=LIGHT)
    (time,) = bench.times
    assert time.images == (4 if method == "mlkd" else 2)
    assert f"term {method}" in names(time)
    assert ", fake data" in bench.text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("loses",), "'loses' is none of them; did you mean 'losses'"),
        (("smal",), "'smal' is none of them; did you mean 'small.yaml'"),
        (("smal.yaml",), "config file smal.yaml does not exist; did you mean small.yaml?"),
        (("nowhere/small.yaml",), "config file nowhere/small.yaml does not exist"),
        (("small.yaml", "--against", "other.yaml"), "config file other.yaml does not exist"),
        (("small.yaml", "--rounds", "0"), "--rounds must be a finite number of at least 1"),
        (("small.yaml", "--rounds", "3", "--memory"), "--rounds goes with times"),
        (("small.yaml", "--json", "nowhere/x.json"), "--json wants a file in a folder that exists"),
        (("small.yaml", "--set", "train.num_epoch=3"), "did you mean 'num_epochs'?"),
        (("losses", "--memory"), "--memory goes with a config file, bench losses takes none"),
        (("losses", "--amp", "bf16"), "--amp goes with bench trainer and with a config file, bench losses takes none"),
        (("losses", "--channels-last"), "--channels-last goes with bench trainer, found bench losses"),
        (("trainer", "--set", "a=b"), "--set goes with a config file, bench trainer takes none"),
        (("small.yaml", "--set", "train.train_data_loader.kwargs.batch_size=64",
          "train.train_data_loader.kwargs.drop_last=True"), "the training loader is empty"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_message_and_exit_code_2(tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    small_configs.write(tmp_path)
    code, out, err = run(capsys, "bench", *arguments)
    assert code == 2
    assert out == ""
    assert err.startswith("kd-plugins: error: ")
    assert message in err
    assert err.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["small.yaml"]
