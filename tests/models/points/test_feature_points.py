"""Feature points: those of every CIFAR network, how models are probed, and points declared by hand."""

import pytest
import torch
import torch.nn.functional as F
from point_hooks import tensors_at
from torch import nn

from kd_plugins.models import (
    CIFAR_MODELS,
    FeaturePoint,
    declare_feature_points,
    feature_point,
    feature_points,
    timm_model,
    to_map,
)
from kd_plugins.models.points.probe import capture, paths_returning

# Channels and stride of the stages, then of the last map, at 32x32.
NARROW, X4 = [(16, 1), (32, 2), (64, 4)], [(64, 1), (128, 2), (256, 4)]
VGG = [(64, 1), (128, 2), (256, 4), (512, 8), (512, 8)]


def widened(factor):
    return [(channels * factor, stride) for channels, stride in NARROW]


MAPS = {
    **{f"cifar_resnet{depth}": (NARROW, (64, 4)) for depth in (8, 14, 20, 26, 32, 44, 56, 110)},
    "cifar_resnet8x4": (X4, (256, 4)),
    "cifar_resnet32x4": (X4, (256, 4)),
    **{f"cifar_resnet{depth}": ([(64, 1), (128, 2), (256, 4), (512, 8)], (512, 8)) for depth in (18, 34)},
    "cifar_resnet50": ([(256, 1), (512, 2), (1024, 4), (2048, 8)], (2048, 8)),
    **{f"cifar_wrn_{name}_1": (widened(1), (64, 4)) for name in (16, 40)},
    **{f"cifar_wrn_{name}_2": (widened(2), (128, 4)) for name in (16, 28, 40)},
    **{f"cifar_wrn_{name}_4": (widened(4), (256, 4)) for name in (16, 28)},
    **{f"cifar_vgg{depth}": (VGG, (512, 8)) for depth in (8, 11, 13, 16, 19)},
    "cifar_mobilenetv2": ([(12, 2), (16, 4), (48, 8), (160, 16)], (1280, 16)),
    "cifar_shufflenetv1": ([(240, 2), (480, 4), (960, 8)], (960, 8)),
    "cifar_shufflenetv2": ([(116, 2), (232, 4), (464, 8)], (1024, 8)),
}
WITHOUT_RELU_AFTER_A_STAGE = ("cifar_mobilenetv2", "cifar_shufflenetv2")


@pytest.fixture(scope="module", params=CIFAR_MODELS)
def network(request):
    torch.manual_seed(0)
    return request.param, CIFAR_MODELS[request.param](num_classes=7)


def test_every_cifar_network_is_described(network):
    name, model = network
    stages, last = MAPS[name]
    points = {point.name: point for point in feature_points(model)}
    names = [f"stage{k}" for k in range(1, len(stages) + 1)]
    preacts = [] if name in WITHOUT_RELU_AFTER_A_STAGE else [f"{stage}_preact" for stage in names]
    assert list(points) == [*names, "last_map", "pooled", "logits", *preacts]
    assert [(points[s].channels, points[s].stride) for s in names] == stages
    assert [(points[s].channels, points[s].stride) for s in preacts] == (stages if preacts else [])
    assert (points["last_map"].channels, points["last_map"].stride) == last
    assert (points["pooled"].channels, points["pooled"].stride) == (last[0], None)
    assert (points["logits"].channels, points["logits"].layout) == (7, "NC")

    images = torch.randn(2, 3, 32, 32)
    seen = tensors_at(model, points.values(), images)
    for point in points.values():
        side = 32 // point.stride if point.stride else 1
        assert to_map(point, seen[point.name]).shape == (2, point.channels, side, side)
    torch.testing.assert_close(seen["pooled"], seen["last_map"].mean((2, 3)))
    classifier = model.get_submodule(points["pooled"].path)
    torch.testing.assert_close(classifier(seen["pooled"]), seen["logits"])
    for stage in names if preacts else []:
        assert seen[f"{stage}_preact"].min() < 0
        if name.startswith("cifar_wrn"):
            continue
        torch.testing.assert_close(F.relu(seen[f"{stage}_preact"]), seen[stage])


def test_wide_resnet_stages_are_sums_and_their_next_relu_takes_them_normalised():
    model = CIFAR_MODELS["cifar_wrn_16_2"]().eval()
    seen = tensors_at(model, feature_points(model), torch.randn(2, 3, 32, 32))
    for stage, norm in (("stage1", "block2.layer.0.bn1"), ("stage3", "bn1")):
        assert seen[stage].min() < 0
        normed = model.get_submodule(norm)(seen[stage])
        torch.testing.assert_close(seen[f"{stage}_preact"], normed)
    torch.testing.assert_close(seen["last_map"], F.relu(seen["stage3_preact"]))


def test_another_image_size():
    model = CIFAR_MODELS["cifar_vgg8"]()
    # Images of 64 pixels and more are halved once more before the last block.
    assert [feature_point(model, "last_map", input_size=size).stride for size in (32, 64)] == [8, 16]
    assert feature_point(model, "stage2", input_size=(32, 48)).stride == 2


def hooks_of(model):
    return [hook for m in model.modules() for hook in (*m._forward_hooks, *m._forward_pre_hooks)]


def test_the_model_is_left_as_it_was():
    model = CIFAR_MODELS["cifar_resnet8"]().train()
    model.layer2.eval()
    modes = [module.training for module in model.modules()]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    feature_points(model)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not hooks_of(model)
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)


def test_the_model_is_left_as_it_was_after_an_error():
    model = timm_model(model_name="vit_tiny_patch16_224", depth=1).train()
    with pytest.raises(ValueError, match=r"^VisionTransformer fails on .*64.* set input_size="):
        feature_points(model, input_size=64)
    assert all(module.training for module in model.modules())
    assert not hooks_of(model)


def test_frozen_models_have_points():
    model = CIFAR_MODELS["cifar_resnet8"](frozen=True)
    assert feature_point(model, "stage2").path == "layer2"
    assert not any(p.requires_grad for p in model.parameters())


def test_images_fit_the_model():
    """Channels, precision and size come from the model."""
    model = timm_model(model_name="resnet10t", in_chans=1).double()
    assert feature_point(model, "last_map", input_size=64).stride == 32


class Odd(nn.Module):
    """Everything that a hook cannot describe."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.twice = nn.Identity()
        self.never = nn.Identity()
        self.pair = Pair()

    def forward(self, x):
        x = self.relu(self.conv(x))
        x, _ = self.pair(self.twice(self.twice(x)))
        return x.mean((2, 3))


class Pair(nn.Module):
    def forward(self, x):
        return x, x


def odd_point(path, io="output", **changes):
    return FeaturePoint("here", path, io, **{"layout": "NCHW", "channels": 4, "stride": 1, **changes})


def test_points_declared_by_hand():
    model = Odd()
    points = [odd_point("relu"), FeaturePoint("logits", ".", "output", "NC", channels=4, stride=None)]
    declare_feature_points(model, points)
    assert feature_points(model, input_size=8) == points


def test_points_declared_by_hand_win():
    model = CIFAR_MODELS["cifar_resnet8"]()
    declare_feature_points(model, [FeaturePoint("stem", "relu", "output", "NCHW", channels=16, stride=1)])
    assert [point.name for point in feature_points(model)] == ["stem"]


def test_the_grid_of_tokens_comes_from_the_probe():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches = nn.Conv2d(3, 5, 4, stride=4)
            self.tokens = nn.Flatten(2)
            self.last = nn.Identity()

        def forward(self, x):
            return self.last(self.tokens(self.patches(x)).transpose(1, 2)).mean(1)

    model = Tokens()
    declare_feature_points(model, [FeaturePoint("t", "last", "output", "NLC", channels=5, stride=4)])
    point = feature_point(model, "t", input_size=(8, 16))
    assert point.grid == (2, 4)
    images = torch.randn(2, 3, 8, 16)
    torch.testing.assert_close(to_map(point, tensors_at(model, [point], images)["t"]), model.patches(images))
    # Another image size: 4 x 4 tokens do not fill the grid, but form a square.
    assert to_map(point, torch.zeros(1, 16, 5)).shape == (1, 5, 4, 4)
    declare_feature_points(model, [FeaturePoint("t", "last", "output", "NLC", 1, channels=5, stride=2)])
    with pytest.raises(ValueError, match=r"'t' \(last output\) must be NLC .* 2 pixels after 1 prefix_tokens, found"):
        feature_points(model, input_size=8)


@pytest.mark.parametrize(
    ("point", "message"),
    [
        (odd_point("conv"), "the output of 'conv' is changed in place later"),
        (odd_point("relu", "input"), "the input of 'relu' is changed in place later"),
        (
            odd_point("never"),
            "'never' must be called once per forward pass, found 0 calls: a hook on it never fires",
        ),
        (odd_point("twice"), "'twice' must be called once .* found 2 calls: .* would capture only the last one"),
        (odd_point("pair"), "the output of 'pair' must be one tensor, found tuple"),
        (odd_point("body"), "Odd has no module 'body'"),
        (odd_point("relu", channels=8), r"has 8 channels on axis 1 of NCHW, found shape \(2, 4, 8, 8\)"),
        (odd_point("relu", stride=2), r"NCHW with one position every 2 pixels, found shape \(2, 4, 8, 8\)"),
        (odd_point("relu", layout="NHWC", channels=8), r"NHWC with one position every 1 pixels, found"),
        (odd_point("relu", layout="NLC"), r"layout 'NLC' needs 3 dimensions|must be NLC"),
        (odd_point("relu", stride=None), "must be NCHW with one position, found"),
    ],
)
def test_declared_points_are_verified(point, message):
    model = Odd().train()
    declare_feature_points(model, [point])
    with pytest.raises(ValueError, match=message):
        feature_points(model, input_size=8)
    assert model.training
    assert not hooks_of(model)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": ""}, "name must be a non-empty string, found ''"),
        ({"path": ""}, "path must be a non-empty string, found ''"),
        ({"io": "out"}, "io must be one of 'input', 'output', found 'out'"),
        ({"layout": "NCL"}, "layout must be one of 'NCHW', 'NHWC', 'NLC', 'NC', found 'NCL'"),
        ({"channels": 0}, "channels must be a whole number of at least 1, found 0"),
        ({"stride": 1.5}, "stride must be a whole number of at least 1, found 1.5"),
        ({"prefix_tokens": 1}, "prefix_tokens and grid are for layout 'NLC', found layout 'NCHW'"),
        ({"grid": (2, 2)}, "prefix_tokens and grid are for layout 'NLC'"),
        ({"layout": "NC"}, "stride must be None for layout 'NC' and a number for 'NLC', found 1 for 'NC'"),
        ({"layout": "NLC", "stride": None}, "found None for 'NLC'"),
        ({"layout": "NLC", "prefix_tokens": -1}, "prefix_tokens must be a whole number of at least 0"),
    ],
)
def test_points_out_of_range(changes, message):
    settings = {"name": "a", "path": "b", "io": "output", "layout": "NCHW", "channels": 1, "stride": 1}
    with pytest.raises(ValueError, match=message):
        FeaturePoint(**{**settings, **changes})


def test_errors():
    model = CIFAR_MODELS["cifar_resnet8"]()
    with pytest.raises(ValueError, match="ResNet has no feature point 'stage4'; it has: stage1, stage2, stage3,"):
        feature_point(model, "stage4")
    with pytest.raises(ValueError, match=r"points of Odd are unknown .*declare_feature_points\(model, \["):
        feature_points(Odd())
    for size in (0, (32,), (32, -1), True, (8.0, 8), 8.0, "32"):
        with pytest.raises(ValueError, match="input_size must be a whole number or"):
            feature_points(model, input_size=size)
    odd = Odd()
    declare_feature_points(odd, [odd_point("relu")])
    with pytest.raises(ValueError, match="does not declare an input size; set input_size"):
        feature_points(odd)
    with pytest.raises(ValueError, match="points must have different names, found here, here"):
        declare_feature_points(odd, [odd_point("relu"), odd_point("conv")])
    with pytest.raises(ValueError, match="points must be FeaturePoint objects, found 'relu'"):
        declare_feature_points(odd, ["relu"])
    with pytest.raises(ValueError, match=r"'here' \(relu output\) has 4 channels on axis 1 of NCHW"):
        to_map(odd_point("relu"), torch.zeros(1, 3, 8, 8))
    with pytest.raises(ValueError, match="layout 'NCHW' needs 4 dimensions"):
        to_map(odd_point("relu"), torch.zeros(1, 4))


def test_paths_returning_one_object():
    """A copy of what a module gave is not what it gave."""
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.ReLU()))
    x = torch.randn(1, 3, 2, 2)
    assert paths_returning(model, x, lambda x: model[1](model[0](x))) == ["1", "1.0"]
    assert paths_returning(model, x, lambda x: model(x).clone()) == []
    assert not hooks_of(model)


def test_no_place_leaves_nothing_to_do():
    assert capture(Odd(), torch.zeros(1, 3, 4, 4), []) == {}
