"""A student that ends in its teacher's classifier."""

import copy
import logging

import pytest
import torch
from torch import nn
from torchdistill.models.registry import get_model

import kd_plugins  # noqa: F401
from kd_plugins.models import CIFAR_MODELS, feature_points, load_checkpoint, simkd_student
from kd_plugins.models.simkd import SimKDStudent

STUDENT = {"key": "cifar_resnet8", "kwargs": {"num_classes": 10}}
TEACHER = {"key": "cifar_resnet14", "kwargs": {"num_classes": 7}}
SMALL_VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 1, "num_heads": 2, "num_classes": 7}
VIT = {"key": "timm_model", "kwargs": {"model_name": "vit_tiny_patch16_224", **SMALL_VIT}}
SWIN = {
    "key": "timm_model",
    "kwargs": {
        "model_name": "swin_tiny_patch4_window7_224", "img_size": 32, "patch_size": 2, "window_size": 4,
        "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "num_classes": 7,
    },
}  # fmt: skip
CONVNEXT = {
    "key": "timm_model",
    "kwargs": {"model_name": "convnext_atto", "depths": [1, 1, 1, 1], "dims": [4, 8, 8, 16], "num_classes": 7},
}
IMAGES = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_the_three_parts_one_after_the_other():
    model = simkd_student(student=STUDENT, teacher=TEACHER).eval()
    maps = []
    handle = model.projector.register_forward_hook(lambda _m, _i, output: maps.append(output))
    logits = model(IMAGES)
    handle.remove()
    backbone = model.student
    x = backbone.relu(backbone.bn1(backbone.conv1(IMAGES)))
    x = model.projector(backbone.layer3(backbone.layer2(backbone.layer1(x))))
    assert torch.equal(maps[0], x)
    torch.testing.assert_close(logits, model.head(x.mean((2, 3))))
    assert logits.shape == (3, 7)


def test_the_head_is_the_teachers_and_stays(tmp_path):
    teacher = CIFAR_MODELS["cifar_resnet14"](num_classes=7)
    torch.save(teacher.state_dict(), tmp_path / "teacher.pt")
    model = simkd_student(student=STUDENT, teacher={**TEACHER, "src_ckpt": str(tmp_path / "teacher.pt")})
    assert torch.equal(model.head.weight, teacher.fc.weight)
    model.requires_grad_(True).train()  # as a training loop may
    model(IMAGES).square().sum().backward()
    assert model.head.weight.grad is None
    assert not model.head.training
    for part in (model.student.layer3, model.projector):
        assert any(p.grad.abs().max() > 0 for p in part.parameters())
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_the_students_own_weights_are_taken_and_its_classifier_is_gone(tmp_path):
    student = CIFAR_MODELS["cifar_resnet8"](num_classes=10)
    torch.save(student.state_dict(), tmp_path / "student.pt")
    model = simkd_student(student={**STUDENT, "src_ckpt": str(tmp_path / "student.pt")}, teacher=TEACHER)
    assert torch.equal(model.student.conv1.weight, student.conv1.weight)
    parts = {name.split(".")[0] for name in model.state_dict()}
    assert parts == {"student", "projector", "head"}
    assert not [name for name in model.state_dict() if name.startswith("student.fc")]


def test_saved_and_strictly_loaded(tmp_path):
    model = get_model("simkd_student", student=STUDENT, teacher=TEACHER).train()
    model(IMAGES)
    torch.save({"model": model.state_dict()}, tmp_path / "whole.pt")
    again, model = simkd_student(student=STUDENT, teacher=TEACHER).eval(), model.eval()
    assert not torch.equal(again(IMAGES), model(IMAGES))
    again.load_state_dict(torch.load(tmp_path / "whole.pt", weights_only=True)["model"], strict=True)
    load_checkpoint(again, tmp_path / "whole.pt")
    assert torch.equal(again(IMAGES), model(IMAGES))


def test_a_copy_is_complete_in_itself():
    model = simkd_student(student=STUDENT, teacher=TEACHER).eval()
    again = copy.deepcopy(model)
    before = model(IMAGES)
    assert torch.equal(again(IMAGES), before)
    with torch.no_grad():
        again.student.conv1.weight.mul_(3.0)
    assert not torch.equal(again(IMAGES), before)
    assert torch.equal(model(IMAGES), before)


def test_feature_points_of_the_whole():
    model = simkd_student(student=STUDENT, teacher=TEACHER)
    found = {point.name: (point.path, point.channels, point.stride) for point in feature_points(model)}
    assert found["stage2"] == ("student.layer2", 32, 2)
    assert found["last_map"] == ("projector", 64, 4)
    assert found["pooled"] == ("head", 64, None)
    assert found["logits"] == (".", 7, None)


@pytest.mark.parametrize(
    ("teacher", "point", "channels"),
    [(SWIN, "last_map", 16), (SWIN, "pooled", 16), (VIT, "pooled", 24), (CONVNEXT, "pooled", 16)],
    ids=["swin", "swin pooled", "vit", "convnext"],
)
def test_timm_teachers(teacher, point, channels):
    model = simkd_student(student=STUDENT, teacher=teacher, teacher_point=point)
    assert model.projector.layers[-3].out_channels == channels
    assert model(IMAGES).shape == (3, 7)


@pytest.mark.parametrize("student", [VIT, SWIN, CONVNEXT], ids=["vit", "swin", "convnext"])
def test_timm_students(student):
    model = simkd_student(student=student, teacher=TEACHER, probe_size=32)
    model(IMAGES).sum().backward()
    assert next(model.student.parameters()).grad.abs().max() > 0
    assert model.projector(torch.zeros(2, model.projector.layers[0].in_channels, 2, 2)).shape == (2, 64, 2, 2)


def test_a_vit_that_averages_has_the_head_of_its_last_map():
    average = {**VIT, "kwargs": {**VIT["kwargs"], "global_pool": "avg", "fc_norm": False}}
    assert simkd_student(student=STUDENT, teacher=average)(IMAGES).shape == (3, 7)


def test_a_classifier_that_is_a_convolution():
    head = nn.Conv2d(5, 7, 1)
    model = SimKDStudent(CIFAR_MODELS["cifar_resnet8"](), head)
    vectors = torch.randn(2, 5)
    torch.testing.assert_close(model.head(vectors), head(vectors[:, :, None, None]).flatten(1))


def test_random_weights_of_the_teacher_are_told(caplog):
    with caplog.at_level(logging.WARNING):
        simkd_student(student=STUDENT, teacher=TEACHER)
    assert "the teacher's classifier has random weights" in caplog.text


TWO_HEADS = {"key": "timm_model", "kwargs": {"model_name": "deit_tiny_distilled_patch16_224", **SMALL_VIT}}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"teacher": VIT}, r"'head' of VisionTransformer, .* does not take the average .* set teacher_point: pooled"),
        ({"teacher": CONVNEXT}, r"'head.fc' of ConvNeXt, .* and teacher_module_path: points.pooled in SimKDLoss"),
        ({"teacher": TWO_HEADS, "teacher_point": "pooled"}, "are not the output of the classifier 'head' alone"),
        ({"teacher_point": "stage3"}, "teacher_point must be one of 'last_map', 'pooled', found 'stage3'"),
        ({"student": "cifar_resnet8"}, "student of simkd_student must be a mapping with key and kwargs, found 'cifar"),
        ({"teacher": {"kwargs": {}}}, "teacher of simkd_student must be a mapping with key"),
        ({"teacher": {**TEACHER, "scr_ckpt": "x"}}, "teacher of simkd_student takes no keyword 'scr_ckpt'; did you"),
        ({"student": {"key": "cifar_resnet9"}}, "unknown model 'cifar_resnet9' at student.key of simkd_student; did"),
        ({"student": {**STUDENT, "src_ckpt": "no.pt"}}, "checkpoint 'no.pt' is missing"),
        ({"reduction": 0}, "reduction must be a finite number of at least 1, found 0"),
        ({"probe_size": [32]}, r"probe_size must be a whole number or \[H, W\], above 0, found \[32\]"),
    ],
)
def test_refuses(given, message):
    with pytest.raises(ValueError, match=message):
        simkd_student(**{"student": STUDENT, "teacher": TEACHER, **given})


def test_a_head_that_is_not_linear():
    with pytest.raises(ValueError, match="head must be a linear layer, found Sequential"):
        SimKDStudent(CIFAR_MODELS["cifar_resnet8"](), nn.Sequential(nn.Linear(3, 2)))


def test_the_teachers_section_of_a_config_as_it_is():
    """The teacher's section of a config may say frozen: True and stand here as it is."""
    frozen = {**TEACHER, "kwargs": {**TEACHER["kwargs"], "frozen": True}, "dst_ckpt": None}
    assert simkd_student(student=STUDENT, teacher=frozen)(IMAGES).shape == (3, 7)
