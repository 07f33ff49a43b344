"""Adapters of student and teacher features in several processes: kept alike, and what one process learns."""

import pytest
import small_configs
import stock_configs
import torch
import train_and_dump
from several_processes import together
from test_resume import KilledError, assert_same, final, interrupt

from kd_plugins.runtime.checkpoint import load_state
from kd_plugins.training.train import train

PROJECTIONS = {
    "SIDES": (
        "  teacher:\n"
        "    forward_proc: forward_batch_only\n"
        "    requires_grad: False\n"
        "    auxiliary_model_wrapper: {key: ProjectedTeacher, kwargs: {points: [pooled]}}\n"
        "    forward_hook: {output: [projections.pooled]}\n"
        "  student:\n"
        "    forward_proc: forward_batch_only\n"
        "    auxiliary_model_wrapper:\n"
        "      {key: ProjectedStudent, kwargs: {pairs: [{student: pooled, channels: 64}], dim: 8}}\n"
        "    forward_hook: {output: [regressors.pooled]}\n"
    ),
    "KD_TERM": (
        "        mse:\n"
        "          criterion: {key: MSELoss, kwargs: {}}\n"
        "          criterion_wrapper:\n"
        "            key: SimpleLossWrapper\n"
        "            kwargs:\n"
        "              input: {is_from_teacher: False, module_path: regressors.pooled, io: output}\n"
        "              target: {is_from_teacher: True, module_path: projections.pooled, io: output}\n"
        "          weight: 10.0\n"
    ),
}
VARIANCES = {
    "SIDES": (
        "  teacher:\n"
        "    forward_proc: forward_batch_only\n"
        "    requires_grad: False\n"
        "    forward_hook: {output: [avgpool]}\n"
        "  student:\n"
        "    forward_proc: forward_batch_only\n"
        "    auxiliary_model_wrapper: {key: VIDStudent, kwargs: {pairs: [{student: pooled, channels: 64}]}}\n"
        "    forward_hook: {output: [regressors.pooled]}\n"
    ),
    "KD_TERM": (
        "        vid:\n"
        "          criterion:\n"
        "            key: VIDLoss\n"
        "            kwargs:\n"
        "              feature_pairs:\n"
        "                one: {teacher: {path: avgpool, io: output}, student: {path: regressors.pooled, io: output}}\n"
        "          weight: 1.0\n"
    ),
}


FROZEN = "    frozen_modules: [patch_embed]\n"


@pytest.mark.parametrize(
    ("parts", "more"),
    [(PROJECTIONS, ""), (PROJECTIONS, FROZEN), (VARIANCES, "")],
    ids=["projections", "projections, student partly frozen", "variances"],
)
def test_two_processes_learn_what_one_does(tmp_path, parts, more):
    """Fixed order, no batch norm: as one process with the doubled batch."""
    parts = {**parts, "SIDES": parts["SIDES"] + more, "SAMPLER": "SequentialSampler", "EPOCHS": 2}
    for name, batch in (("one", 16), ("two", 8)):
        (tmp_path / name).mkdir()
        small_configs.write(tmp_path / name, **parts, BATCH=batch)
    train(tmp_path / "one" / "small.yaml", run_dir=tmp_path / "one" / "run", device="cpu")
    done = together(train_and_dump.main, tmp_path / "two" / "small.yaml", tmp_path / "two")
    assert done.returncode == 0, done.stderr[-2000:]
    one, two = (load_state(tmp_path / name / "run") for name in ("one", "two"))
    for part in ("model", "adapters"):
        assert one[part].keys() == two[part].keys()
        assert part == "model" or len(one[part]) >= 4
        for name, value in one[part].items():
            torch.testing.assert_close(two[part][name], value, rtol=1e-5, atol=1e-5)


def test_a_memory_of_features_resumes_bit_for_bit(tmp_path, monkeypatch):
    config = stock_configs.write(tmp_path, "crd", keep=0.5, EPOCHS=2)
    train(config, run_dir=tmp_path / "whole", device="cpu")
    with monkeypatch.context() as patch:
        interrupt(patch, "_epoch", call=2)
        with pytest.raises(KilledError):
            train(config, run_dir=tmp_path / "cut", device="cpu")
    torch.manual_seed(99)
    train(config, run_dir=tmp_path / "cut", device="cpu", resume=True)
    assert_same(final(tmp_path / "cut"), final(tmp_path / "whole"))
    states = [load_state(tmp_path / name) for name in ("cut", "whole")]
    assert_same(*(state["adapters"] for state in states))
    (memory,), (expected,) = (state["memories"] for state in states)
    assert_same(memory["crd"], expected["crd"])
    assert memory["crd"]["mid_level_loss.memory_v1"].shape == (360, 16)
