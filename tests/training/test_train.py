import json

import pytest
import small_configs
import torch
from torch import nn
from torchdistill.models.registry import register_model

from kd_plugins.models.fingerprint import fingerprint
from kd_plugins.runtime.checksums import read_sealed_json
from kd_plugins.training.train import train
from kd_plugins.training.trainer import TeacherChangedError, Trainer


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_run_leaves_everything_in_its_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "run"
    config = small_configs.write(tmp_path)
    summary = train(config, run_dir=run, device="cpu", seed=3)
    assert {p.name for p in tmp_path.iterdir()} == {"run", "small.yaml", "teacher_scores.json"}
    names = {"config.yaml", "run.json", "metrics.jsonl", "summary.json", "last.pt", "previous.pt", "best.pt"}
    assert {p.name for p in run.iterdir()} == names
    info = json.loads((run / "run.json").read_text())
    assert info["seed"] == 3
    assert info["environment"]["torch"] == torch.__version__.split("+")[0]
    epochs = lines(run)
    assert [line["epoch"] for line in epochs] == [1, 2]
    for line in epochs:
        assert set(line["terms"]) == {"ce", "lskd"}
        total = 0.1 * line["terms"]["ce"] + 0.9 * line["terms"]["lskd"]
        assert line["loss"] == pytest.approx(total, rel=1e-5)
        assert {"top1", "top5", "nll", "ece", "samples"} == set(line["val"])
    assert epochs[1]["lr"] < epochs[0]["lr"]
    assert summary == read_sealed_json(run / "summary.json")
    best = torch.load(run / "best.pt", weights_only=True)
    assert best["epoch"] == summary["best_epoch"]


@pytest.mark.parametrize("process", ["kd_pre_epoch", "default_pre_epoch_process_with_teacher"])
def test_a_bn_teacher_is_bit_identical_after_the_run(tmp_path, process):
    config = small_configs.write(tmp_path, PRE_EPOCH=process)
    trainer = prepared(config, tmp_path / "run")
    before = fingerprint(trainer.teacher)
    summary = trainer.fit()
    assert fingerprint(trainer.teacher) == before
    assert summary["teacher_unchanged"] is True
    assert summary["teacher"]["top1"] == trainer.teacher_before["top1"]


def prepared(config, folder, **options):
    from kd_plugins.config.config import read_config
    from kd_plugins.runtime.distributed import Processes
    from kd_plugins.training.run_folder import Options, RunFolder

    asked = Options(**{"seed": 0, "amp": "no", "world_size": 1, **options})
    config = read_config(config)
    folder.mkdir()
    run = RunFolder(folder)
    return Trainer(config, run, asked, Processes(0, 1, torch.device("cpu")))


def test_a_frozen_teacher_that_changed_is_reported(tmp_path):
    trainer = prepared(small_configs.write(tmp_path, EPOCHS=1), tmp_path / "run")
    trainer.teacher_before = trainer.tests.teacher(trainer.teacher, None)
    trainer._save(trainer._epoch())
    with torch.no_grad():
        next(trainer.teacher.parameters()).add_(1e-3)
    with pytest.raises(TeacherChangedError, match="the frozen teacher changed during training"):
        trainer._finish()


def test_plain_training_needs_no_teacher(tmp_path):
    config = small_configs.write(
        tmp_path, **small_configs.without_teacher(PRE_EPOCH="default_pre_epoch_process_without_teacher")
    )
    summary = train(config, run_dir=tmp_path / "run", device="cpu")
    assert summary["teacher"] is None
    assert summary["test_best"]["samples"] == 45
    assert set(lines(tmp_path / "run")[0]["terms"]) == {"ce"}


def test_the_same_seed_gives_the_same_weights_and_another_does_not(tmp_path):
    config = small_configs.write(tmp_path, EPOCHS=1)
    found = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(config, run_dir=tmp_path / name, device="cpu", seed=seed)
        found.append(torch.load(tmp_path / name / "last.pt", weights_only=True)["model"]["head.weight"])
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_learns_something_real(tmp_path):
    parts = small_configs.without_teacher(SAMPLES=480, EPOCHS=6, PRE_EPOCH="default_pre_epoch_process_without_teacher")
    parts["CE_TERM"] = small_configs.CROSS_ENTROPY.replace("0.1", "1.0")
    parts["SCHEDULER"] = ""
    summary = train(small_configs.write(tmp_path, **parts), run_dir=tmp_path / "run", device="cpu")
    losses = [line["loss"] for line in lines(tmp_path / "run")]
    assert losses[-1] < 0.8 * losses[0]
    assert summary["test_best"]["top1"] > 35  # chance is 10


def test_bf16_trains_float32_weights_to_nearly_the_same_loss(tmp_path):
    config = small_configs.write(tmp_path, EPOCHS=1)
    for amp in ("no", "bf16"):
        train(config, run_dir=tmp_path / amp, device="cpu", amp=amp)
    narrow, wide = (lines(tmp_path / amp)[0]["loss"] for amp in ("bf16", "no"))
    assert narrow == pytest.approx(wide, rel=0.05)
    assert narrow != wide
    state = torch.load(tmp_path / "bf16" / "last.pt", weights_only=True)
    assert state["model"]["head.weight"].dtype == torch.float32
    assert not state["scaler"]  # bfloat16 has float32's range


def test_fp16_scales_the_loss_and_learns(tmp_path):
    config = small_configs.write(tmp_path, EPOCHS=6)
    train(config, run_dir=tmp_path / "run", device="cpu", amp="fp16")
    losses = [line["loss"] for line in lines(tmp_path / "run")]
    assert losses[-1] < 0.8 * losses[0]
    state = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    assert 1 <= state["scaler"]["scale"] < 2**16  # it backed off from the first guess, which overflows


def test_accumulated_steps_equal_larger_batches(tmp_path):
    """Two batches of 8 accumulated are one batch of 16: the loss is a mean over samples, the order is fixed."""
    found = []
    for batch, more in ((16, ""), (8, ", grad_accum_step: 2")):
        folder = tmp_path / str(batch)
        folder.mkdir()
        config = small_configs.write(folder, BATCH=batch, OPTIMIZER=more, EPOCHS=1, SAMPLER="SequentialSampler")
        train(config, run_dir=folder / "run", device="cpu")
        found.append(torch.load(folder / "run" / "last.pt", weights_only=True)["model"])
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, rtol=1e-4, atol=1e-6)


def test_stages_follow_each_other(tmp_path):
    path = tmp_path / "two.yaml"
    path.write_text(small_configs.two_stages())
    summary = train(path, run_dir=tmp_path / "run", device="cpu")
    epochs = lines(tmp_path / "run")
    assert [line["stage"] for line in epochs] == ["stage1", "stage2", "stage2"]
    assert ["lskd" in line["terms"] for line in epochs] == [True, False, False]
    assert epochs[1]["lr"] == 0.01
    assert summary["epochs"] == 3


MINUS_NINE = "student_mean: [0., 0., 0.], student_std: [1., 1., 1.], mean: [9., 9., 9.], std: [1., 1., 1.]"


@pytest.mark.parametrize(
    "parts",
    [
        {
            "SIDES": small_configs.PARTS["SIDES"].replace(
                "requires_grad: False}",
                f"requires_grad: False, auxiliary_model_wrapper: {{key: FrozenTeacher, kwargs: {{{MINUS_NINE}}}}}}}",
            )
        },
        {
            "TEACHER_MODEL": "  teacher_model: {key: frozen_teacher, kwargs: {model: {key: cifar_resnet8, "
            f"kwargs: {{num_classes: 10}}}}, {MINUS_NINE}}}}}\n"
        },
    ],
    ids=["wrapper", "model"],
)
def test_the_teacher_sees_its_own_normalisation_when_it_is_measured(tmp_path, parts):
    """The accuracy printed for the teacher is that of the teacher that the student learns from."""
    trainer = prepared(small_configs.write(tmp_path, EPOCHS=1, **parts), tmp_path / "run")
    seen = []
    trainer.teacher.conv1.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0].mean().item()))
    trainer.fit()
    assert seen
    assert all(value < -8 for value in seen)  # images in [0, 1], minus 9


class Exploding(nn.Module):
    """Gives NaN from its third batch on."""

    def __init__(self, num_classes):
        super().__init__()
        self.fc = nn.Linear(3 * 32 * 32, num_classes)
        self.calls = 0

    def forward(self, x):
        self.calls += self.training
        return self.fc(x.flatten(1)) * (float("nan") if self.calls > 2 else 1.0)


def test_a_nan_stops_before_the_step_and_names_the_term(tmp_path):
    register_model(Exploding)
    parts = {"EPOCHS": 1}
    config = small_configs.write(tmp_path, **parts)
    text = config.read_text()
    start = text.index("  student_model:")
    end = text.index("\n", start)
    config.write_text(f"{text[:start]}  student_model: {{key: Exploding, kwargs: {{num_classes: 10}}}}{text[end:]}")
    trainer = prepared(config, tmp_path / "run")
    with pytest.raises(
        ValueError, match=r"epoch 1, step 3 of 3: the loss is not finite: ce = nan, lskd = nan. Training stopped"
    ):
        trainer.fit()
    assert torch.isfinite(trainer.student.fc.weight).all()


@pytest.mark.parametrize(
    ("parts", "right", "wrong", "message"),
    [
        (
            {},
            "num_classes: 10}}\ntrain",
            "num_classes: 7}}\ntrain",
            r"loss term 'ce': .*out of bounds.*match num_classes\?",
        ),
        (
            {"CE_TERM": ""},
            "num_classes: 10}}\ntrain",
            "num_classes: 7}}\ntrain",
            r"loss term 'lskd': student and teacher must have .* \(16, 7\) and \(16, 10\)",
        ),
        (
            {},
            "cifar_resnet8, kwargs: {num_classes: 10}",
            "cifar_resnet8, kwargs: {num_classes: 7}",
            r"are outside the 7 classes of ResNet",
        ),
        (
            {},
            "cifar_resnet8, kwargs: {num_classes: 10}",
            "timm_model, kwargs: {model_name: vit_tiny_patch16_224, depth: 1, num_classes: 10}",
            r"VisionTransformer on a batch of shape \(16, 3, 32, 32\): .*224",
        ),
    ],
)
def test_what_does_not_fit_is_one_message(tmp_path, parts, right, wrong, message):
    config = small_configs.write(tmp_path, EPOCHS=1, **parts)
    text = config.read_text()
    assert right in text
    config.write_text(text.replace(right, wrong))
    with pytest.raises(ValueError, match=message):
        train(config, run_dir=tmp_path / "run", device="cpu")
