"""Regressors beside the student: learned, not saved with it, and at rest outside of training."""

import copy

import pytest
import torch
from torch import nn
from torchdistill.core.forward_hook import ForwardHookManager
from torchdistill.optim.registry import get_optimizer

from kd_plugins.host.students.feature import RegressorStudent
from kd_plugins.models import CIFAR_MODELS, timm_model
from kd_plugins.runtime.checkpoint import load_tensors_beside, tensors_beside

IMAGES = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2, "num_classes": 7}
PAIR = {"student": "stage3", "channels": 40}
RAW = {"name": "mid", "student": {"path": "layer2", "layout": "NCHW"}, "channels": 20}


def resnet():
    return CIFAR_MODELS["cifar_resnet8"](num_classes=7)


def captured(student, *paths):
    manager = ForwardHookManager(torch.device("cpu"))
    for path in paths:
        manager.add_hook(student, path, requires_input=False)
    output = student(IMAGES)
    seen = {path: io["output"] for path, io in manager.pop_io_dict().items() if io}
    manager.clear()
    return output, seen


def test_regressed_maps_in_training_and_none_after():
    model = resnet()
    student = RegressorStudent(model, pairs=[PAIR, RAW])
    alone = copy.deepcopy(model)
    output, seen = captured(student, "regressors.stage3", "regressors.mid", "points.stage3", "layer3")
    assert torch.equal(output, alone(IMAGES))
    assert seen["regressors.stage3"].shape == (4, 40, 8, 8)
    assert seen["regressors.mid"].shape == (4, 20, 16, 16)
    assert torch.equal(seen["points.stage3"], seen["layer3"])
    student.eval()
    before = copy.deepcopy(student.regressors.state_dict())
    output, seen = captured(student, "regressors.stage3", "points.stage3")
    assert torch.equal(output, model(IMAGES))
    assert list(seen) == ["points.stage3"]
    assert all(torch.equal(value, before[name]) for name, value in student.regressors.state_dict().items())


def test_a_loss_on_a_regressor_teaches_it_and_the_student_below():
    model = resnet()
    student = RegressorStudent(model, pairs=[RAW])
    _, seen = captured(student, "regressors.mid")
    (seen["regressors.mid"] - 1).square().mean().backward()
    assert all(p.grad.abs().max() > 0 for n, p in student.regressors.named_parameters() if n != "mid.conv.bias")
    assert model.layer2[0].conv1.weight.grad.abs().max() > 0
    assert model.layer3[0].conv1.weight.grad is None


def test_without_a_loss_on_it_a_regressor_gets_no_gradient():
    student = RegressorStudent(resnet(), pairs=[PAIR])
    student(IMAGES).sum().backward()
    assert all(p.grad is None for p in student.regressors.parameters())
    assert student.student_model.fc.weight.grad is not None


def test_the_optimizer_has_them_and_a_checkpoint_of_the_student_has_not():
    model = resnet()
    student = RegressorStudent(model, pairs=[PAIR])
    optimizer = get_optimizer(nn.ModuleList([student]), "SGD", lr=0.1)
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert {id(p) for p in student.regressors.parameters()} <= trained
    assert student.state_dict().keys() == model.state_dict().keys()
    student.load_state_dict(resnet().state_dict(), strict=True)
    beside = tensors_beside(student, model)
    assert {name.rpartition(".")[0] for name in beside} == {"regressors.stage3.conv", "regressors.stage3.bn"}
    again = RegressorStudent(resnet(), pairs=[PAIR])
    load_tensors_beside(again, again.student_model, beside)
    assert torch.equal(again.regressors.stage3.conv.weight, student.regressors.stage3.conv.weight)


@pytest.mark.parametrize(
    ("size", "kind", "shape"),
    [
        (None, nn.Conv2d, (8, 8)),
        (8, nn.Conv2d, (8, 8)),
        (4, nn.Conv2d, (4, 4)),
        ([16, 16], nn.ConvTranspose2d, (16, 16)),
        (7, nn.Conv2d, (8, 8)),
    ],
)
def test_the_teachers_size(size, kind, shape):
    pair = PAIR if size is None else {**PAIR, "size": size}
    student = RegressorStudent(resnet(), pairs=[pair])
    assert type(student.regressors.stage3.conv) is kind
    assert captured(student, "regressors.stage3")[1]["regressors.stage3"].shape == (4, 40, *shape)


def test_one_point_for_two_teachers_and_tokens():
    model = timm_model(model_name="vit_tiny_patch16_224", **VIT)
    pairs = [
        {"name": "one", "student": "last_map", "channels": 16, "size": 8},
        {"name": "two", "student": "last_map", "channels": 32},
    ]
    student = RegressorStudent(model, pairs=pairs, points=["stage1", "last_map"])
    _, seen = captured(student, "regressors.one", "regressors.two", "points.last_map", "points.stage1")
    assert seen["regressors.one"].shape == (4, 16, 8, 8)
    assert seen["regressors.two"].shape == (4, 32, 4, 4)
    assert [name for name, _ in student.points.named_children()] == ["stage1", "last_map"]


def test_the_probe_leaves_the_student_as_it_was():
    model = resnet()
    before = copy.deepcopy(model.state_dict())
    random = torch.get_rng_state()
    model.train()
    student = RegressorStudent(model, pairs=[{**PAIR, "size": 4}])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert student.training
    assert all(module.training for module in model.modules())
    torch.set_rng_state(random)
    again = RegressorStudent(resnet(), pairs=[{**PAIR, "size": 4}])
    assert again.regressors.stage3.conv.weight.shape == student.regressors.stage3.conv.weight.shape


def test_a_copy_is_complete_in_itself():
    student = RegressorStudent(resnet(), pairs=[PAIR])
    again = copy.deepcopy(student)
    nn.init.zeros_(again.regressors.stage3.conv.weight)
    assert captured(again, "regressors.stage3")[1]["regressors.stage3"].abs().max() < 1e-3
    assert captured(student, "regressors.stage3")[1]["regressors.stage3"].abs().max() > 1
    assert captured(again, "regressors.stage3")[1].keys() == {"regressors.stage3"}


def test_another_image_size_than_the_probed_one():
    model = timm_model(model_name="resnet10t", num_classes=7)
    student = RegressorStudent(model, pairs=[{"student": "stage2", "channels": 8, "size": 4}])
    message = r"pair 'stage2' expects maps of 22x22, found 4x4: set probe_size, beside pairs, to the size of the images"
    with pytest.raises(ValueError, match=message):
        student(IMAGES)
    student = RegressorStudent(model, pairs=[{"student": "stage2", "channels": 8, "size": 2}], probe_size=32)
    assert captured(student, "regressors.stage2")[1]["regressors.stage2"].shape == (4, 8, 2, 2)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"pairs": []}, r"pairs must be a list of mappings such as \{student: stage3, channels: 256.*found \[\]"),
        ({"pairs": PAIR}, "pairs must be a list of mappings"),
        ({"pairs": ["stage3"]}, "pairs must hold mappings such as .*, found 'stage3'"),
        ({"pairs": [{**PAIR, "chanels": 3}]}, "a pair of RegressorStudent takes no keyword 'chanels'; did you mean"),
        ({"pairs": [{"student": "stage3"}]}, r"the pair \{'student': 'stage3'\} needs 'channels', as in"),
        ({"pairs": [{"channels": 3}]}, "needs 'student', as in"),
        ({"pairs": [{**PAIR, "channels": 0}]}, "channels of the pair 'stage3' must be a finite number of at least 1"),
        ({"pairs": [{**PAIR, "channels": 2.5}]}, "channels of the pair 'stage3' must be a whole number, found 2.5"),
        ({"pairs": [{**PAIR, "size": 0}]}, r"size of the pair 'stage3' must be a whole number or \[H, W\], above 0"),
        ({"pairs": [PAIR, PAIR]}, "two pairs have the name 'stage3': rename one of them"),
        ({"pairs": [{**RAW, "name": None}]}, "needs a name, because its student is a raw path"),
        ({"pairs": [{**PAIR, "student": "stage9"}]}, "ResNet has no feature point 'stage9'"),
        ({"pairs": [{**RAW, "student": {"path": "layer2"}}]}, "the point 'mid' needs 'layout'"),
        ({"pairs": [{**RAW, "student": {"path": "layer2", "layout": "NLC"}}]}, r"'mid' .* give layout: NCHW or NHWC"),
        ({"pairs": [PAIR], "probe_size": "32"}, r"probe_size must be a whole number or \[H, W\], above 0, found '32'"),
    ],
)
def test_refuses(kwargs, message):
    with pytest.raises(ValueError, match=message):
        RegressorStudent(resnet(), **kwargs)


def test_what_cannot_be_probed_or_kept_in_the_graph():
    plain = nn.Sequential(nn.Conv2d(3, 4, 1))
    pair = {"name": "x", "student": {"path": "0", "layout": "NCHW"}, "channels": 3}
    with pytest.raises(
        ValueError, match="Sequential does not declare an input size; set probe_size to the size of the images"
    ):
        RegressorStudent(plain, pairs=[pair])
    assert RegressorStudent(plain, pairs=[pair], probe_size=8)(torch.zeros(2, 3, 8, 8)).shape == (2, 4, 8, 8)

    class Two(nn.Sequential):
        def forward(self, x):
            return (super().forward(x),) * 2

    with pytest.raises(ValueError, match="needs a student that returns one tensor, found tuple"):
        RegressorStudent(Two(nn.Conv2d(3, 4, 1)), pairs=[pair], probe_size=8)(torch.zeros(2, 3, 8, 8))
    vit = timm_model(model_name="vit_tiny_patch16_224", **VIT)
    raw = {"name": "x", "student": {"path": "blocks.0", "layout": "NLC", "prefix_tokens": 1}, "channels": 3}
    with pytest.raises(ValueError, match=r"fails on images of 40x40 .*: set probe_size, beside pairs, to the size"):
        RegressorStudent(vit, pairs=[raw], probe_size=40)
