import copy
import logging
from pathlib import Path

import pytest
import torch
from torch import nn
from torchdistill.core.forward_hook import ForwardHookManager
from torchdistill.models.registry import get_model

from kd_plugins.config.build import build_model
from kd_plugins.config.config import parse_config
from kd_plugins.host.teachers.ensemble import TeacherEnsemble, teacher_ensemble
from kd_plugins.host.teachers.wrapper import FrozenTeacher
from kd_plugins.models import CIFAR_MODELS, is_frozen, load_checkpoint, timm_model
from kd_plugins.models.fingerprint import fingerprint
from kd_plugins.runtime.distributed import Processes

LOADER = {"student_mean": [0.5, 0.4, 0.3], "student_std": [0.2, 0.3, 0.4]}
VIT = {
    "model_name": "vit_tiny_patch16_224", "img_size": 32, "patch_size": 16, "embed_dim": 24, "depth": 1, "num_heads": 2,
    "num_classes": 5,
}  # fmt: skip
CNN = {"key": "cifar_resnet8", "kwargs": {"num_classes": 5}}


@pytest.fixture
def entries(tmp_path):
    """A ViT on timm's own normalisation, a CNN on the loader's and a CNN on another one and half the size."""
    cnn = CIFAR_MODELS["cifar_resnet8"](num_classes=5)
    cnn(torch.randn(8, 3, 32, 32))  # statistics of its batch norms
    for name, model in (("vit", timm_model(**VIT)), ("cnn", cnn)):
        torch.save({"model": model.state_dict()}, tmp_path / f"{name}.pt")
    mean, std = LOADER.values()
    return [
        {"key": "timm_model", "kwargs": VIT, "src_ckpt": str(tmp_path / "vit.pt")},
        {**CNN, "src_ckpt": str(tmp_path / "cnn.pt"), "mean": mean, "std": std},
        {**CNN, "src_ckpt": str(tmp_path / "cnn.pt"), "mean": [0.1] * 3, "std": [0.9] * 3, "input_size": 16},
    ]


def each_alone(entries):
    """The same teachers, each built and wrapped by hand."""
    for entry in entries:
        wrapper = {name: entry[name] for name in ("mean", "std", "input_size") if name in entry}
        model = load_checkpoint(get_model(entry["key"], **entry["kwargs"]), entry["src_ckpt"])
        yield FrozenTeacher(model, **LOADER, **wrapper)


def test_every_teacher_sees_its_own_normalisation_and_size(entries):
    batch = torch.randn(4, 3, 32, 32)
    ensemble = teacher_ensemble(teachers=entries, **LOADER)
    manager = ForwardHookManager(torch.device("cpu"))
    for m in range(3):
        manager.add_hook(ensemble, f"teachers.{m}", requires_input=False)
    output = ensemble(batch)
    captured = manager.pop_io_dict()
    alone = [teacher(batch) for teacher in each_alone(entries)]
    for m, logits in enumerate(alone):
        assert torch.equal(captured[f"teachers.{m}"]["output"], logits)
    assert (alone[1] - alone[2]).abs().max() > 1e-3  # one file, but not one view of the batch
    mean = torch.stack(alone).softmax(2).mean(0)
    torch.testing.assert_close(output.exp(), mean)


def test_hooks_reach_into_each_teacher_and_its_points(entries):
    entries[0]["points"] = ["last_map"]
    ensemble = teacher_ensemble(teachers=entries, **LOADER)
    paths = {
        "teachers.0.points.last_map": (2, 24, 2, 2),
        "teachers.0.blocks.0": (2, 5, 24),
        "teachers.2.layer3": (2, 64, 4, 4),
    }
    manager = ForwardHookManager(torch.device("cpu"))
    for path in paths:
        manager.add_hook(ensemble, path, requires_input=False)
    ensemble(torch.randn(2, 3, 32, 32))
    assert {path: tuple(io["output"].shape) for path, io in manager.pop_io_dict().items()} == paths


def test_no_training_changes_a_teacher(entries):
    ensemble = teacher_ensemble(teachers=entries, **LOADER)
    assert is_frozen(ensemble)
    before = fingerprint(ensemble)
    for _ in range(2):
        ensemble.train()
        ensemble.requires_grad_(True)
        assert not ensemble(5 * torch.randn(4, 3, 32, 32)).requires_grad
    assert not any(module.training for module in ensemble.modules())
    assert not any(p.requires_grad for p in ensemble.parameters())
    assert fingerprint(ensemble) == before


def test_the_state_dict_holds_all_teachers(entries, tmp_path):
    ensemble = teacher_ensemble(teachers=entries, **LOADER)
    names = set(ensemble.state_dict())
    assert {"teachers.0.patch_embed.proj.weight", "teachers.1.conv1.weight", "teachers.2.conv1.weight"} <= names
    bare = [{name: value for name, value in entry.items() if name != "src_ckpt"} for entry in entries]
    other = teacher_ensemble(teachers=bare, **LOADER)
    assert fingerprint(other) != fingerprint(ensemble)
    torch.save(ensemble.state_dict(), tmp_path / "all.pt")
    load_checkpoint(other, tmp_path / "all.pt")
    assert fingerprint(other) == fingerprint(ensemble)
    batch = torch.randn(2, 3, 32, 32)
    assert torch.equal(other(batch), ensemble(batch))
    assert torch.equal(copy.deepcopy(ensemble)(batch), ensemble(batch))
    with pytest.raises(RuntimeError, match="Unexpected key"):
        other.load_state_dict({**ensemble.state_dict(), "teachers": torch.zeros(1)})


def test_every_kind_of_model_is_found_by_its_key():
    found = [
        {"key": "resnet18", "kwargs": {"num_classes": 5}},  # torchvision's
        {"key": "timm_model", "kwargs": VIT},
        {"key": "cifar_vgg8"},
    ]
    kinds = [type(t.teacher_model).__name__ for t in teacher_ensemble(teachers=found).teachers]
    assert kinds == ["ResNet", "VisionTransformer", "VGG"]


def test_teachers_that_see_other_classes_are_refused():
    ensemble = teacher_ensemble(teachers=[CNN, {**CNN, "kwargs": {"num_classes": 7}}])
    with pytest.raises(ValueError, match=r"same classes, found \(2, 5\) of teachers.0, \(2, 7\) of teachers.1"):
        ensemble(torch.randn(2, 3, 32, 32))
    maps = TeacherEnsemble([FrozenTeacher(nn.Conv2d(3, 5, 1))])
    with pytest.raises(ValueError, match=r"found \(2, 5, 8, 8\) of teachers.0"):
        maps(torch.randn(2, 3, 8, 8))
    with pytest.raises(ValueError, match="must not be empty"):
        TeacherEnsemble([])


@pytest.mark.parametrize(
    ("teachers", "message"),
    [
        ([], r"teachers of teacher_ensemble must be a list such as \[\{key: cifar_resnet20.*found \[\]"),
        (CNN, r"must be a list such as"),
        (
            ["cifar_resnet8"],
            r"teachers\[0\] of teacher_ensemble must be a mapping with a key, .* found 'cifar_resnet8'",
        ),
        ([CNN, {"kwargs": {}}], r"teachers\[1\] of teacher_ensemble must be a mapping with a key"),
        ([{**CNN, "src_ckp": "x.pt"}], r"takes no keyword 'src_ckp'; did you mean 'src_ckpt'"),
        ([{**CNN, "student_mean": [0.5] * 3}], r"takes no keyword 'student_mean'"),
        (
            [CNN, {"key": "cifar_resnet9"}],
            r"teachers\[1\] .*\(cifar_resnet9\): unknown model 'cifar_resnet9'; did you mean",
        ),
        ([{**CNN, "src_ckpt": "no/such.pt"}], r"\(cifar_resnet8\): checkpoint 'no/such.pt' is missing"),
        ([{**CNN, "kwargs": {"classes": 5}}], r"takes no keyword 'classes'"),
        ([{**CNN, "mean": [0.5] * 3, "std": [0.2] * 3}], r"\(cifar_resnet8\): mean and std .* also set student_mean"),
        ([{**CNN, "points": ["stage9"]}], r"\(cifar_resnet8\): .*stage9"),
    ],
)
def test_mistakes(teachers, message):
    with pytest.raises(ValueError, match=message):
        teacher_ensemble(teachers=teachers)


def test_a_teacher_without_a_normalisation_of_its_own_is_named():
    with pytest.raises(ValueError, match=r"teachers\[0\] .*mean, std must be given to renormalise"):
        teacher_ensemble(teachers=[CNN], **LOADER)


@pytest.mark.parametrize("all_of_them", [True, False])
def test_the_trainer_warns_of_a_teacher_with_random_weights(entries, all_of_them, caplog):
    if not all_of_them:
        del entries[1]["src_ckpt"]
    section = {"key": "teacher_ensemble", "kwargs": {"teachers": entries, **LOADER}}
    config = parse_config("models: {teacher_model: {key: teacher_ensemble}}", Path("config.yaml"))
    with caplog.at_level(logging.WARNING):
        build_model(config, "teacher_model", section, Processes(0, 1, torch.device("cpu")))
    assert ("random weights" in caplog.text) is not all_of_them
