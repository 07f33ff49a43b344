"""Local learning in the trainer: resumed exactly, both ways of the backward pass alike, in one process and in two."""

import pytest
import small_configs
import torch
import train_and_dump
from several_processes import together
from test_resume import KilledError, assert_same, final, interrupt

from kd_plugins._errors import ConfigError
from kd_plugins.runtime.checkpoint import load_state
from kd_plugins.training.train import train
from kd_plugins.training.trainer import Trainer

TERM = "        lakd: {criterion: {key: LAKDLoss, kwargs: LOSS}, weight: 0.5}\n"
HOOKS = "[local_losses, class_maps.student, class_maps.teacher]"


def write(folder, kwargs="", *, loss="{alpha: 0.5, beta: 2.0}", hooks=HOOKS, vit=False, **others):
    """Write a config of a ResNet-8 that a ResNet-14 teaches; or of a ViT of two blocks, which has no batch norm."""
    sides = (
        "  teacher: {forward_proc: forward_batch_only, requires_grad: False}\n"
        "  student:\n"
        "    forward_proc: forward_batch_only\n"
        f"    auxiliary_model_wrapper: {{key: LAKDStudent, kwargs: {{{kwargs}}}}}\n"
        f"    forward_hook: {{output: {hooks}}}\n"
    )
    model = "" if vit else "  teacher_model: {key: cifar_resnet14, kwargs: {num_classes: 10}}\n"
    parts = {"SIDES": sides, "KD_TERM": TERM.replace("LOSS", loss), **({"TEACHER_MODEL": model} if model else {})}
    folder.mkdir(exist_ok=True)
    config = small_configs.write(folder, **parts, **others)
    text = config.read_text().replace("depth: 1", "depth: 2")
    if not vit:
        lines = text.splitlines()
        place = next(i for i, line in enumerate(lines) if line.startswith("  student_model:"))
        lines[place] = "  student_model: {key: cifar_resnet8, kwargs: {num_classes: 10}}"
        text = "\n".join(lines) + "\n"
    config.write_text(text)
    return config


def weights(folder):
    return load_state(folder)["model"]


def assert_close(found, expected, tolerance=1e-5):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=tolerance, atol=tolerance, msg=name)


@pytest.mark.parametrize("backward", ["joint", "eager"])
def test_a_resumed_run_is_bit_exact(tmp_path, monkeypatch, backward):
    kwargs = f"backward: {backward}, cuts: every, teacher: [1, 3, 6], teacher_channels: [16, 32, 64]"
    config = write(tmp_path, kwargs, EPOCHS=3, SAMPLES=32)
    summary = train(config, run_dir=tmp_path / "whole", device="cpu")
    assert summary["teacher_unchanged"]
    with monkeypatch.context() as patch:
        interrupt(patch, "_epoch", call=3)
        with pytest.raises(KilledError):
            train(config, run_dir=tmp_path / "cut", device="cpu")
    torch.manual_seed(99)
    train(config, run_dir=tmp_path / "cut", device="cpu", resume=True)
    assert_same(final(tmp_path / "cut"), final(tmp_path / "whole"))
    history = load_state(tmp_path / "whole")["history"]
    assert history[-1]["terms"]["lakd"] < history[0]["terms"]["lakd"]
    assert not [name for name in weights(tmp_path / "whole") if "regressors" in name or "local" in name]


SETTINGS = {
    "plain": ({}, "no"),
    "accumulated": ({"OPTIMIZER": ", grad_accum_step: 2"}, "no"),
    "clipped": ({"OPTIMIZER": ", max_grad_norm: 0.1"}, "no"),
    "fp16, accumulated and clipped": ({"OPTIMIZER": ", grad_accum_step: 2, max_grad_norm: 0.1"}, "fp16"),
    "bf16": ({}, "bf16"),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_eager_training_is_joint_training(tmp_path, name):
    parts, amp = SETTINGS[name]
    for backward in ("joint", "eager"):
        config = write(tmp_path / backward, f"backward: {backward}", EPOCHS=1, SAMPLES=32, BATCH=8, **parts)
        train(config, run_dir=tmp_path / backward / "run", device="cpu", amp=amp)
    states = [load_state(tmp_path / backward / "run") for backward in ("eager", "joint")]
    assert_close(states[0]["model"], states[1]["model"], 1e-5 if amp == "no" else 2e-3)
    assert states[0]["history"][0]["terms"] == pytest.approx(states[1]["history"][0]["terms"], rel=1e-3)
    assert states[0]["scaler"] == states[1]["scaler"]


def test_torchdistills_own_step_works(tmp_path):
    """What its scripts do: pre-epoch process, forward, and its default post-forward process."""
    found = {}
    for backward in ("joint", "eager"):
        config = write(tmp_path / backward, f"backward: {backward}", OPTIMIZER=", grad_accum_step: 2")
        box = train_box(config, tmp_path / backward / "run")
        for images, targets, supplement in box.train_data_loader:
            loss = box.forward_process(images, targets, supplement)
            box.post_forward_process(loss=loss)
        found[backward] = box.org_student_model.state_dict()
    assert_close(found["eager"], found["joint"])


def train_box(config, folder):
    from kd_plugins.config.build import quiet_torchdistill
    from kd_plugins.config.config import read_config
    from kd_plugins.runtime.distributed import processes
    from kd_plugins.training.run_folder import Options, RunFolder

    with processes("cpu") as procs, quiet_torchdistill():
        box = Trainer(read_config(config), RunFolder(folder), Options(seed=0, amp="no", world_size=1), procs).box
    box.pre_epoch_process(epoch=0)
    return box


def test_two_processes_learn_as_one(tmp_path):
    """Fixed order, no batch norm in the student: the mean of two gradients is the gradient of the doubled batch."""
    for name, batch in (("one", 16), ("two", 8)):
        write(
            tmp_path / name, "cuts: every, teacher: [2, 3], teacher_channels: [32, 64]", vit=True, BATCH=batch,
            SAMPLER="SequentialSampler", EPOCHS=2,
        )  # fmt: skip
    train(tmp_path / "one" / "small.yaml", run_dir=tmp_path / "one" / "run", device="cpu")
    done = together(train_and_dump.main, tmp_path / "two" / "small.yaml", tmp_path / "two")
    assert done.returncode == 0, done.stderr[-2000:]
    one, two = (load_state(tmp_path / name / "run") for name in ("one", "two"))
    for part in ("model", "adapters"):
        assert_close(two[part], one[part])
    assert any(name.startswith("regressors") for name in one["adapters"])


def test_without_class_attention(tmp_path):
    config = write(tmp_path, "class_attention: False", loss="{alpha: 1.0}", hooks="[local_losses]", EPOCHS=1)
    assert train(config, run_dir=tmp_path / "run", device="cpu")["epochs"] == 1


def test_the_trainer_itself_does_what_kd_pre_epoch_does(tmp_path):
    process = "default_pre_epoch_process_with_teacher"
    config = write(tmp_path, "backward: eager", EPOCHS=1, SAMPLES=16, PRE_EPOCH=process)
    assert train(config, run_dir=tmp_path / "run", device="cpu")["epochs"] == 1


@pytest.mark.parametrize(
    ("kwargs", "parts", "error", "message"),
    [
        ("cuts: [3, 2, 1]", {}, ValueError, "cuts must be in the order of the forward pass"),
        ("cuts: [layer1.0.bn2, 3]", {}, ValueError, "the cut at 'layer1.0.bn2' cannot be made: a skip connection"),
        ("teacher: [1, 2, 9]", {}, ValueError, "its teacher ResNet: teacher: ResNet has blocks 1..6, found 9"),
        ("cutz: plain", {}, ConfigError, "LAKDStudent takes no keyword 'cutz'.*did you mean 'cuts'"),
        ("", {"hooks": "[local_losses]"}, ValueError, r"train.student.forward_hook.output: \[class_maps.student\]"),
        (
            "",
            {"hooks": "[local_losses, class_maps.teachers]"},
            ConfigError,
            r"the student provides no 'class_maps.teachers' at .*\(did you mean 'class_maps.teacher'\?\); it provides "
            "class_maps.student, class_maps.teacher, which LAKDStudent adds",
        ),
        (
            "",
            {"hooks": "[local_loses]"},
            ConfigError,
            "no module .* its nearest paths are 'local_losses'",
        ),
        ("", {"hooks": "[layer9]"}, ConfigError, "the student has no module 'layer9' at train.student.forward_hook"),
        ("", {"loss": "{alpha: 2.0}"}, ConfigError, "alpha must be at most 1, found 2.0"),
    ],
)
def test_mistakes_say_what_to_change(tmp_path, kwargs, parts, error, message):
    config = write(tmp_path, kwargs, EPOCHS=1, SAMPLES=16, **parts)
    with pytest.raises(error, match=message):
        train(config, run_dir=tmp_path / "run", device="cpu")


def test_a_loss_without_its_student(tmp_path):
    config = small_configs.write(tmp_path, KD_TERM=TERM.replace("LOSS", "{}"))
    with pytest.raises(ConfigError, match=r"LAKDLoss needs student.auxiliary_model_wrapper: \{key: LAKDStudent"):
        train(config, run_dir=tmp_path / "run", device="cpu")
