"""Points and regressors in training: paths checked, trained, resumed exactly, kept alike in several processes."""

import pytest
import small_configs
import torch
import train_and_dump
from several_processes import together
from test_resume import KilledError, assert_same, final, interrupt

from kd_plugins._errors import ConfigError
from kd_plugins.runtime.checkpoint import load_state
from kd_plugins.training.train import train

HINT = """\
        hint:
          criterion:
            key: HintLoss
            kwargs: {student_module_path: regressors.last_map, teacher_module_path: points.last_map}
          weight: 1.0
"""
SIMKD = """\
        simkd:
          criterion: {key: SimKDLoss, kwargs: {student_module_path: projector, teacher_module_path: layer3}}
          weight: 1.0
"""
PAIRS = "[{student: last_map, channels: 64}]"


def parts(*, pairs=PAIRS, points="[last_map]", teacher_hook="points.last_map", student_hook="regressors.last_map",
          more="", key="RegressorStudent", **others):  # fmt: skip
    kwargs = f"{{pairs: {pairs}}}" if key == "RegressorStudent" else f"{{points: {points}}}"
    sides = (
        "  teacher:\n    forward_proc: forward_batch_only\n    requires_grad: False\n"
        f"    auxiliary_model_wrapper: {{key: FrozenTeacher, kwargs: {{points: {points}}}}}\n"
        f"    forward_hook: {{output: [{teacher_hook}]}}\n"
        "  student:\n    forward_proc: forward_batch_only\n"
        f"    auxiliary_model_wrapper: {{key: {key}, kwargs: {kwargs}}}\n"
        f"    forward_hook: {{output: [{student_hook}]}}\n{more}"
    )
    return {"SIDES": sides, "KD_TERM": HINT, **others}


def test_regressors_resume_bit_for_bit(tmp_path, monkeypatch):
    config = small_configs.write(tmp_path, **parts(EPOCHS=3, STUDENT_KWARGS=", drop_rate: 0.2"))
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
    assert "regressors.last_map.bn.running_mean" in adapters[0]
    assert all(name.startswith("regressors.last_map.") for name in adapters[0])
    assert all(not torch.equal(value, early[name]) for name, value in adapters[0].items() if value.ndim)
    best = torch.load(tmp_path / "whole" / "best.pt", weights_only=True)["model"]
    assert not [name for name in best if "regressors" in name or "points" in name]


@pytest.mark.parametrize("more", ["", "    frozen_modules: [patch_embed]\n"], ids=["all parameters", "some frozen"])
def test_two_processes_keep_one_regressor(tmp_path, more):
    """One regressor is in the loss, the other in none; batch norm's statistics alone are each process's own."""
    pairs = "[{student: last_map, channels: 64, size: 4}, {name: idle, student: stage1, channels: 5}]"
    config = small_configs.write(tmp_path, **parts(pairs=pairs, more=more, BATCH=8, EPOCHS=2))
    done = together(train_and_dump.main, config, tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    for kind in ("rank", "beside"):
        ranks = [torch.load(tmp_path / f"{kind}{rank}.pt", weights_only=True) for rank in (0, 1)]
        assert ranks[0].keys() == ranks[1].keys()
        for name, value in ranks[0].items():
            assert "running" in name or torch.equal(value, ranks[1][name]), name
    history = load_state(tmp_path / "run")["history"]
    assert history[1]["terms"]["hint"] < history[0]["terms"]["hint"]


def test_simkd_trains_and_its_checkpoint_is_whole(tmp_path):
    config = small_configs.write(tmp_path, KD_TERM=SIMKD, EPOCHS=2)
    text = config.read_text().replace(
        "  student: {forward_proc: forward_batch_only}\n",
        "  student: {forward_proc: forward_batch_only, forward_hook: {output: [projector]}}\n",
    )
    text = text.replace("requires_grad: False}", "requires_grad: False, forward_hook: {output: [layer3]}}")
    line = next(line for line in text.splitlines() if line.startswith("  student_model:"))
    inner = line.partition(": ")[2]
    teacher = "{key: cifar_resnet8, kwargs: {num_classes: 10}}"
    text = text.replace(
        line, f"  student_model: {{key: simkd_student, kwargs: {{student: {inner}, teacher: {teacher}}}}}"
    )
    config.write_text(text)
    summary = train(config, run_dir=tmp_path / "run", device="cpu")
    assert summary["teacher_unchanged"]
    best = torch.load(tmp_path / "run" / "best.pt", weights_only=True)["model"]
    assert {name.split(".")[0] for name in best} == {"student", "projector", "head"}
    history = load_state(tmp_path / "run")["history"]
    assert history[1]["terms"]["simkd"] < history[0]["terms"]["simkd"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"student_hook": "regressors.lastmap"},
            r"the student provides no 'regressors.lastmap' at .*forward_hook.*did you mean 'regressors.last_map'\?\); "
            "it provides regressors.last_map$",
        ),
        (
            {"teacher_hook": "points.stage2"},
            r"the teacher provides no 'points.stage2' .*it provides points.last_map. Add it to train.teacher: "
            r"auxiliary_model_wrapper: \{key: FrozenTeacher, kwargs: \{points: \[stage2\]\}\}",
        ),
        (
            {"student_hook": "points.stge1"},
            r"\(did you mean 'points.stage1'\?\); it provides points.last_map. Add it .*\{points: \[stage1\]\}",
        ),
        ({"student_hook": "points.stage1"}, r"it provides points.last_map. .*\{points: \[stage1\]\}"),
        ({"student_hook": "blocks.9"}, "the student has no module 'blocks.9' at .*; its nearest paths are 'blocks"),
        (
            {"key": "FeatureStudent"},
            r"no 'regressors.last_map' .*it provides nothing. .*\{key: RegressorStudent, kwargs",
        ),
        (
            {"teacher_hook": "regressors.last_map"},
            "the teacher has no 'regressors.last_map' .*only RegressorStudent, a student wrapper",
        ),
        ({"pairs": "[{student: last_map}]"}, r"RegressorStudent at .*: the pair .* needs 'channels', as in"),
        ({"pairs": "[{student: stge1, channels: 64}]", "student_hook": "regressors.stge1"}, "no feature point 'stge1'"),
        ({"points": "[stage9]", "teacher_hook": "points.stage9"}, "ResNet has no feature point 'stage9'"),
    ],
)
def test_paths_are_checked_before_anything_is_trained(tmp_path, given, message):
    config = small_configs.write(tmp_path, **parts(**given))
    with pytest.raises(ConfigError, match=message):
        train(config, run_dir=tmp_path / "run", device="cpu")


def test_points_without_a_wrapper_say_which_one_to_add(tmp_path):
    text = small_configs.write(tmp_path, **parts()).read_text()
    lines = [line for line in text.splitlines() if "key: RegressorStudent" not in line]
    (tmp_path / "small.yaml").write_text("\n".join(lines).replace("regressors.last_map]", "points.last_map]"))
    with pytest.raises(
        ConfigError, match=r"provides no 'points.last_map' .*\{key: FeatureStudent, kwargs: \{points: \[la"
    ):
        train(tmp_path / "small.yaml", run_dir=tmp_path / "run", device="cpu")


def test_prefixed_and_plain_paths_of_the_student_lead_to_one_module(tmp_path):
    hook = "regressors.last_map, blocks.0, student_model.norm"
    config = small_configs.write(tmp_path, **parts(student_hook=hook, EPOCHS=1))
    assert train(config, run_dir=tmp_path / "run", device="cpu")["teacher_unchanged"]


def test_a_layout_that_does_not_fit_names_the_term_and_the_line(tmp_path):
    pair = "[{name: mid, student: {path: blocks.0, layout: NLC, prefix_tokens: 2}, channels: 64}]"
    config = small_configs.write(tmp_path, **parts(pairs=pair, student_hook="regressors.mid"))
    message = r"'mid' \(blocks.0 output\) of shape \(2, 5, 24\) .* prefix_tokens: 1 leaves 2 x 2 patches"
    with pytest.raises(ConfigError, match=message):
        train(config, run_dir=tmp_path / "run", device="cpu")
