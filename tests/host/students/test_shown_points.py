"""Points of a model as maps at paths of the wrapper."""

import copy
import gc
import pickle

import pytest
import torch
from torch import nn
from torchdistill.common.module_util import get_module
from torchdistill.core.forward_hook import ForwardHookManager

from kd_plugins.host.students.feature import FeatureStudent
from kd_plugins.host.teachers.wrapper import FrozenTeacher
from kd_plugins.models import CIFAR_MODELS, FeaturePoint, declare_feature_points, feature_point, timm_model, to_map
from kd_plugins.models.points.shown import collected
from kd_plugins.transforms import class_activation_maps

VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2, "num_classes": 7}
SWIN = {
    "img_size": 32, "patch_size": 2, "window_size": 4, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2],
    "num_classes": 7, "drop_path_rate": 0.0,
}  # fmt: skip
MODELS = {
    "vit": lambda: timm_model(model_name="vit_tiny_patch16_224", **VIT),
    "swin": lambda: timm_model(model_name="swin_tiny_patch4_window7_224", **SWIN),
    "convnext": lambda: timm_model(model_name="convnext_atto", depths=[1, 1, 1, 1], dims=[4, 8, 8, 16], num_classes=7),
    "resnet8": lambda: CIFAR_MODELS["cifar_resnet8"](num_classes=7),
}
RAW = {"name": "mid", "path": "blocks.0", "layout": "NLC", "prefix_tokens": 1}
IMAGES = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def vit():
    return MODELS["vit"]()


def seen(wrapper, *paths, images=IMAGES):
    """Return output of the wrapper and what torchdistill captures at paths."""
    manager = ForwardHookManager(torch.device("cpu"))
    for path in paths:
        manager.add_hook(wrapper, path, requires_input=False)
    output = wrapper(images)
    captured = manager.pop_io_dict()
    manager.clear()
    return output, {path: captured[path]["output"] for path in paths if captured.get(path)}


@pytest.mark.parametrize("name", list(MODELS))
@pytest.mark.parametrize("mode", [True, False])
def test_shows_what_stands_at_the_points_and_changes_nothing(name, mode):
    model = MODELS[name]()
    points = [feature_point(model, at, input_size=32) for at in ("stage1", "stage2", "last_map", "pooled")]
    alone = copy.deepcopy(model).train(mode)
    student = FeatureStudent(model, points=[point.name for point in points]).train(mode)
    output, maps = seen(student, *(f"points.{point.name}" for point in points), *{point.path for point in points})
    assert torch.equal(output, alone(IMAGES))
    assert list(student.state_dict()) == list(alone.state_dict())
    assert [p.shape for p in student.parameters()] == [p.shape for p in alone.parameters()]
    for point in points:
        shown = maps[f"points.{point.name}"]
        assert shown.shape[:2] == (3, point.channels)
        if point.io == "output":
            assert torch.equal(shown, to_map(point, maps[point.path]))
    maps["points.stage1"].square().sum().backward()
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())


@pytest.mark.parametrize("name", list(MODELS))
def test_a_frozen_teacher_shows_points_of_its_own_view(name):
    model = MODELS[name]()
    point = feature_point(model, "last_map", input_size=32)
    teacher = FrozenTeacher(
        model, student_mean=[0.5] * 3, student_std=[0.5] * 3, mean=[0.0] * 3, std=[1.0] * 3, input_size=32,
        points=["last_map"],
    )  # fmt: skip
    small = torch.rand(2, 3, 16, 16)
    output, maps = seen(teacher, "points.last_map", point.path, images=small)
    assert torch.equal(output, model(teacher.prepare(small)))
    assert torch.equal(maps["points.last_map"], to_map(point, maps[point.path]))
    assert not maps["points.last_map"].requires_grad
    assert teacher.state_dict().keys() == model.state_dict().keys()


def test_only_what_is_asked_for_is_shown():
    teacher = FrozenTeacher(vit())
    assert "points" not in dict(teacher.named_modules())
    model = vit()
    student = FeatureStudent(model, points=["stage2"])
    assert [name for name, _ in student.points.named_children()] == ["stage2"]
    hooked = [name for name, module in model.named_modules() if module._forward_hooks]
    assert hooked == [feature_point(model, "stage2").path]


def test_raw_paths():
    model = vit()
    entries = [RAW, {"name": "logits", "path": ".", "layout": "NC"}, {"name": "in", "path": "head", "io": "input",
               "layout": "NC"}]  # fmt: skip
    output, maps = seen(FeatureStudent(model, points=entries), "points.mid", "points.logits", "points.in", "blocks.0")
    patches = maps["blocks.0"][:, 1:]
    assert torch.equal(maps["points.mid"], patches.transpose(1, 2).reshape(3, 24, 4, 4))
    assert torch.equal(maps["points.logits"].flatten(1), output)
    torch.testing.assert_close(model.head(maps["points.in"].flatten(1)), output)


def test_raw_tokens_on_a_grid():
    """Eight patches of 2 x 4, of images that are no squares."""
    model = nn.Sequential(nn.Conv2d(3, 5, 8, stride=8), nn.Flatten(2), Transposed())
    student = FeatureStudent(model, points=[{"name": "first", "path": "2", "layout": "NLC", "grid": [2, 4]}])
    _, maps = seen(student, "points.first", "0", images=torch.randn(1, 3, 16, 32))
    assert torch.equal(maps["points.first"], maps["0"])


class Transposed(nn.Module):
    def forward(self, x):
        return x.transpose(1, 2)


def test_class_maps_average_to_the_logits_and_teach_the_head():
    model = MODELS["resnet8"]()
    output, maps = seen(FeatureStudent(model, points=["class_maps"]), "points.class_maps")
    assert maps["points.class_maps"].shape == (3, 7, 8, 8)
    torch.testing.assert_close(maps["points.class_maps"].mean((2, 3)) + model.fc.bias, output)
    maps["points.class_maps"].sum().backward()
    assert model.fc.weight.grad.abs().max() > 0
    assert model.conv1.weight.grad.abs().max() > 0


@pytest.mark.parametrize(("name", "size"), [("vit", 4), ("swin", 8), ("convnext", 1)])
def test_class_maps_of_other_layouts(name, size):
    model = MODELS[name]()
    point = feature_point(model, "last_map", input_size=32)
    teacher = FrozenTeacher(model, points=["class_maps"])
    _, maps = seen(teacher, "points.class_maps", point.path)
    head = model.head if name == "vit" else model.head.fc
    expected = class_activation_maps(to_map(point, maps[point.path]), head.weight)
    assert expected.shape == (3, 7, size, size)
    assert torch.equal(maps["points.class_maps"], expected)


def test_a_copy_feeds_its_own_points():
    student = FeatureStudent(MODELS["resnet8"](), points=["stage2", "class_maps"])
    for again in (copy.deepcopy(student), pickle.loads(pickle.dumps(student))):
        with torch.no_grad():
            again.student_model.fc.weight.mul_(2.0)
        _, original = seen(student, "points.stage2", "points.class_maps")
        _, copied = seen(again, "points.stage2", "points.class_maps")
        assert len(original) == len(copied) == 2
        torch.testing.assert_close(copied["points.stage2"], original["points.stage2"])
        torch.testing.assert_close(copied["points.class_maps"], 2 * original["points.class_maps"])
        with collected(student.points, ["stage2"]) as maps:
            again(IMAGES)
        assert maps == {}


def test_the_hooks_go_with_the_wrapper():
    model = MODELS["resnet8"]()
    student = FeatureStudent(model, points=["stage2"])
    again = copy.deepcopy(student)
    inner = again.student_model
    assert len(model.layer2._forward_hooks) == len(inner.layer2._forward_hooks) == 1
    del again
    gc.collect()
    assert len(model.layer2._forward_hooks) == 1
    assert not inner.layer2._forward_hooks
    del student
    gc.collect()
    assert not model.layer2._forward_hooks


def test_paths_with_and_without_prefix():
    student = FeatureStudent(MODELS["resnet8"](), points=["stage2"])
    assert get_module(student, "layer2") is student.student_model.layer2
    assert get_module(student, "points.stage2") is student.points["stage2"]


def test_a_model_without_fixed_size_is_shown_at_any():
    student = FeatureStudent(timm_model(model_name="resnet10t", num_classes=3), points=["stage4"], probe_size=32)
    assert seen(student, "points.stage4")[1]["points.stage4"].shape == (3, 512, 1, 1)
    assert seen(student, "points.stage4", images=torch.randn(1, 3, 64, 96))[1]["points.stage4"].shape[2:] == (2, 3)


def two_heads():
    return timm_model(model_name="deit_tiny_distilled_patch16_224", **VIT)


def deep_head():
    return timm_model(model_name="mobilenetv3_small_050", num_classes=3)


def odd_head():
    model = nn.Sequential(nn.Conv2d(3, 4, 2, stride=2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Softmax(1))
    declare_feature_points(
        model,
        [
            FeaturePoint("last_map", "0", "output", "NCHW", channels=4, stride=2),
            FeaturePoint("pooled", "3", "input", "NC", channels=4, stride=None),
        ],
        input_size=8,
    )
    return model


@pytest.mark.parametrize(
    ("model", "points", "message"),
    [
        (vit, ["stge1"], r"has no feature point 'stge1'; did you mean 'stage1'.*It has: stage1, stage2, last_map"),
        (vit, ["stage9"], r"A raw path is written \{name: mid, path: blocks.5"),
        (vit, "stage1", r"points must be a list, such as \[stage3, last_map\], found 'stage1'"),
        (vit, [3], "points must contain names of feature points, or mappings such as .*, found 3"),
        (vit, ["stage1", "stage1"], "points must have different names, found stage1, stage1"),
        (vit, [{**RAW, "name": "a.b"}], "name of a point must be a plain word .*, found 'a.b'"),
        (vit, [{**RAW, "name": "keys"}], "plain word that nn.ModuleDict does not use, found 'keys'"),
        (vit, [{**RAW, "path": "block.0"}], "'mid': VisionTransformer has no module 'block.0'; did you mean 'blocks"),
        (vit, [{**RAW, "layouts": "NLC"}], "the point 'mid' takes no keyword 'layouts'; did you mean 'layout'"),
        (vit, [{"name": "mid", "path": "blocks.0"}], "the point 'mid' needs 'layout', as in"),
        (vit, [{**RAW, "layout": "BLC"}], "layout of the point 'mid' must be one of 'NCHW', 'NHWC', 'NLC', 'NC'"),
        (vit, [{**RAW, "layout": "NHWC"}], "prefix_tokens and grid of the point 'mid' are for layout NLC, found"),
        (vit, [{**RAW, "grid": [4, 0]}], r"grid of the point 'mid' must be a whole number or \[H, W\], above 0"),
        (vit, [{**RAW, "io": "out"}], "io of the point 'mid' must be one of 'input', 'output', found 'out'"),
        (nn.Flatten, ["stage1"], r"the feature points of Flatten are unknown .* points also takes raw paths"),
        (two_heads, ["class_maps"], "has no class_maps: its logits are the mean of two heads"),
        (deep_head, ["class_maps"], "takes 1024 features, found 288 channels in the last map .*: other layers"),
        (odd_head, ["class_maps"], "has no class_maps: its classifier '3' is Softmax, not one linear layer"),
    ],
)
def test_refuses(model, points, message):
    with pytest.raises(ValueError, match=message):
        FeatureStudent(model(), points=points)


def test_a_wrong_probe_size_says_what_to_set():
    with pytest.raises(ValueError, match=r"fails on images of shape .* \(in a config: probe_size, beside points\)"):
        FeatureStudent(vit(), points=["stage1"], probe_size=48)


def test_a_model_with_points_of_its_own():
    model = nn.Sequential()
    model.add_module("points", nn.Flatten())
    with pytest.raises(ValueError, match="Sequential already has an attribute 'points'"):
        FeatureStudent(model, points=[{"name": "x", "path": "points", "layout": "NC"}])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"prefix_tokens": 0},
            r"'mid' \(blocks.0 output\) of shape \(3, 17, 24\) .* 17 patches do not form a square.*"
            r"In the entry 'mid' .* give prefix_tokens and grid: \[H, W\].*; prefix_tokens: 1 leaves 4 x 4 patches",
        ),
        ({"grid": [3, 4]}, r"grid \(3, 4\) holds 12 patches, found 16"),
        ({"layout": "NCHW", "prefix_tokens": 0}, r"of shape \(3, 17, 24\) .* give layout: NLC"),
    ],
)
def test_a_layout_that_does_not_fit_says_which_line_to_change(change, message):
    student = FeatureStudent(vit(), points=[{**RAW, **change}])
    with pytest.raises(ValueError, match=message):
        student(IMAGES)


def test_what_is_no_tensor():
    class Two(nn.Module):
        def forward(self, x):
            return x, x

    student = FeatureStudent(nn.Sequential(Two()), points=[{"name": "two", "path": "0", "layout": "NCHW"}])
    with pytest.raises(ValueError, match="'two' must be one tensor, found tuple as the output of '0'; use another"):
        student(IMAGES)
