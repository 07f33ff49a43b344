"""What a student wrapper learns: trained, saved, resumed exactly, kept alike in several processes."""

import pytest
import small_configs
import torch
import train_and_dump
from several_processes import together
from test_resume import KilledError, assert_same, final, interrupt

from kd_plugins._errors import ConfigError
from kd_plugins.runtime.checkpoint import load_state
from kd_plugins.training.train import train

CTKD_TERM = "        ctkd: {criterion: {key: CTKDLoss, kwargs: {}}, weight: 0.9}\n"
INSTANCE = "{level: instance, num_classes: 10, hidden: 8}"


def parts(kwargs="{level: global}", more="", **others):
    sides = (
        "  teacher: {forward_proc: forward_batch_only, requires_grad: False}\n"
        "  student:\n"
        "    forward_proc: forward_batch_only\n"
        f"    auxiliary_model_wrapper: {{key: CTKDStudent, kwargs: {kwargs}}}\n"
        f"    forward_hook: {{output: [temperature]}}\n{more}"
    )
    return {"SIDES": sides, "KD_TERM": CTKD_TERM, **others}


@pytest.mark.parametrize("kwargs", ["{initial: -2.0, lambda_max: -1.0}", INSTANCE])
def test_a_learned_temperature_resumes_bit_for_bit(tmp_path, monkeypatch, kwargs):
    config = small_configs.write(tmp_path, **parts(kwargs, EPOCHS=3, STUDENT_KWARGS=", drop_rate: 0.2"))
    train(config, run_dir=tmp_path / "whole", device="cpu")
    with monkeypatch.context() as patch:
        interrupt(patch, "_epoch", call=3)
        with pytest.raises(KilledError):
            train(config, run_dir=tmp_path / "cut", device="cpu")
    early = load_state(tmp_path / "cut")["adapters"]
    torch.manual_seed(99)
    train(config, run_dir=tmp_path / "cut", device="cpu", resume=True)
    assert_same(final(tmp_path / "cut"), final(tmp_path / "whole"))
    adapters = [load_state(tmp_path / name)["adapters"] for name in ("cut", "whole")]
    assert_same(*adapters)
    assert all(name.startswith("temperature.") for name in adapters[0])
    assert any(not torch.equal(value, early[name]) for name, value in adapters[0].items())
    best = torch.load(tmp_path / "whole" / "best.pt", weights_only=True)["model"]
    assert not [name for name in best if "temperature" in name]


@pytest.mark.parametrize("more", ["", "    frozen_modules: [patch_embed]\n"], ids=["all parameters", "some frozen"])
def test_two_processes_learn_one_temperature(tmp_path, more):
    """Fixed order, no batch norm: as one process with the doubled batch."""
    for name, batch in (("one", 16), ("two", 8)):
        (tmp_path / name).mkdir()
        small_configs.write(
            tmp_path / name, **parts(INSTANCE, more, BATCH=batch, SAMPLER="SequentialSampler", EPOCHS=2)
        )
    train(tmp_path / "one" / "small.yaml", run_dir=tmp_path / "one" / "run", device="cpu")
    done = together(train_and_dump.main, tmp_path / "two" / "small.yaml", tmp_path / "two")
    assert done.returncode == 0, done.stderr[-2000:]
    one, two = (load_state(tmp_path / name / "run") for name in ("one", "two"))
    for part in ("model", "adapters"):
        assert one[part].keys() == two[part].keys()
        for name, value in one[part].items():
            torch.testing.assert_close(two[part][name], value, rtol=1e-5, atol=1e-5)


def test_a_temperature_that_is_not_hooked_says_which_line_is_missing(tmp_path):
    config = small_configs.write(tmp_path, **parts())
    text = config.read_text()
    config.write_text(text.replace("    forward_hook: {output: [temperature]}\n", ""))
    message = r"CTKDLoss needs student.forward_hook: \{output: \[temperature\]\} in the same stage"
    with pytest.raises(ValueError, match=message):
        train(config, run_dir=tmp_path / "run", device="cpu")
    config.write_text(text.replace("forward_hook: {output: [temperature]}", "forward_hook: {output: [head]}"))
    message = r"loss term 'ctkd': .* Hook it in the config: train.student.forward_hook.output: \[temperature\]"
    with pytest.raises(ValueError, match=message):
        train(config, run_dir=tmp_path / "run", device="cpu")


def test_a_keyword_that_the_wrapper_does_not_take(tmp_path):
    config = small_configs.write(tmp_path, **parts("{lambda_mim: -1.0}"))
    with pytest.raises(ConfigError, match=r"CTKDStudent takes no keyword 'lambda_mim'.*did you mean 'lambda_min'"):
        train(config, run_dir=tmp_path / "run", device="cpu")


def test_two_views_train_and_evaluate(tmp_path):
    loader = (
        "0}\n    dataset_wrapper:\n      key: TwoViews\n      kwargs:\n        strong: !import_call\n"
        "          key: torchvision.transforms.Compose\n          init: {args: [[\n"
        "            !import_call {key: torchvision.transforms.RandAugment},\n"
        "            !import_call {key: torchvision.transforms.ToTensor}]]}\n    collate_fn: collate_two_views\n#"
    )
    term = "        mlkd: {criterion: {key: MLKDLoss, kwargs: {temperatures: [2, 4]}}, weight: 0.9}\n"
    config = small_configs.write(tmp_path, KD_TERM=term, EPOCHS=1)
    before, after = config.read_text().split("num_workers: 0}\n", 1)
    config.write_text(f"{before}num_workers: {loader}\n{after}")
    summary = train(config, run_dir=tmp_path / "run", device="cpu")
    assert summary["test_last"]["samples"] == 45
    assert summary["teacher_unchanged"]
    assert load_state(tmp_path / "run")["history"][0]["terms"]["mlkd"] > 0
