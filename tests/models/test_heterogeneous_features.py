"""Any point of any family as a map (B, c, H, W), held against the maps that timm itself gives."""

import pytest
import torch
from point_hooks import tensors_at
from torch import nn

from kd_plugins.models import feature_point, feature_points, timm_model, to_map

PYRAMID = (4, 8, 16, 32)


def tokens(channels, stride, *, prefix=0, stages=4):
    return [("NLC", prefix, channels, stride)] * (stages + 1)


def maps(*channels, layout="NCHW", strides=PYRAMID, last=None):
    """Return the stages' and the last map's layout, prefix, channels and stride."""
    stages = [(layout, 0, c, s) for c, s in zip(channels, strides, strict=True)]
    return [*stages, (layout, 0, last or channels[-1], strides[-1])]


# Name -> keywords, image size, what is expected of the stages and, at the end, of the last map.
LARGE = {
    "vit_tiny_patch16_224": ({}, tokens(192, 16, prefix=1)),
    "deit_tiny_patch16_224": ({"depth": 4}, tokens(192, 16, prefix=1)),
    "deit_tiny_distilled_patch16_224": ({"depth": 6}, tokens(192, 16, prefix=2)),
    "swin_pico_patch4_window7_224": ({}, maps(48, 96, 192, 384, layout="NHWC")),
    "swin_tiny_patch4_window7_224": ({}, maps(96, 192, 384, 768, layout="NHWC")),
    "convnext_atto": ({}, maps(40, 80, 160, 320)),
    "mixer_s32_224": ({}, tokens(512, 32)),
    "resmlp_12_224": ({}, tokens(384, 16)),
    "beit_base_patch16_224": ({"depth": 2}, tokens(768, 16, prefix=1, stages=2)),
    "resnet18": ({}, maps(64, 128, 256, 512)),
    "resnetv2_50": ({}, maps(256, 512, 1024, 2048)),
    "efficientnet_b0": ({}, maps(24, 40, 112, 320, last=1280)),
    "mobilenetv2_050": ({}, maps(16, 16, 48, 160, last=1280)),
    "mobilenetv3_small_050": ({}, maps(8, 16, 24, 288)),
    "poolformer_s12": ({}, maps(64, 128, 320, 512)),
    "caformer_s18": ({}, maps(64, 128, 320, 512)),
    "levit_128s": ({}, [("NLC", 0, c, s) for c, s in ((128, 16), (256, 32), (384, 64), (384, 64))]),
    "vit_small_patch14_reg4_dinov2": ({"depth": 1, "img_size": 56}, tokens(384, 14, prefix=5, stages=1)),
}
# Both report a prefix token that joins the patches only after the blocks.
LATE_TOKEN = {
    "cait_xxs24_224": ({"depth": 4, "num_heads": 4}, [*tokens(192, 16)[:-1], ("NLC", 1, 192, 16)]),
    "xcit_nano_12_p16_224": ({"depth": 4}, [*tokens(128, 16)[:-1], ("NLC", 1, 128, 16)]),
}
SMALL_VIT = {"img_size": 32, "patch_size": 4, "embed_dim": 24, "depth": 5, "num_heads": 3}
SMALL = {
    "vit_tiny_patch16_224": (SMALL_VIT, tokens(24, 4, prefix=1)),
    "deit_tiny_patch16_224": ({**SMALL_VIT, "depth": 2}, tokens(24, 4, prefix=1, stages=2)),
    "deit_tiny_distilled_patch16_224": ({**SMALL_VIT, "depth": 1}, tokens(24, 4, prefix=2, stages=1)),
    "swin_tiny_patch4_window7_224": (
        {
            "img_size": 32,
            "patch_size": 2,
            "window_size": 4,
            "embed_dim": 24,
            "depths": [1, 2],
            "num_heads": [2, 4],
        },
        maps(24, 48, layout="NHWC", strides=(2, 4)),
    ),
    "swin_pico_patch4_window7_224": (
        {"img_size": 32, "patch_size": 1, "window_size": 4, "embed_dim": 12},
        maps(12, 24, 48, 96, layout="NHWC", strides=(1, 2, 4, 8)),
    ),
    "mixer_b16_224": (
        {"img_size": 32, "patch_size": 4, "num_blocks": 3, "embed_dim": 24},
        tokens(24, 4, stages=3),
    ),
    "resmlp_12_224": ({"img_size": 32, "patch_size": 8, "num_blocks": 8, "embed_dim": 24}, tokens(24, 8)),
    "beit_base_patch16_224": (
        {"img_size": 32, "patch_size": 8, "depth": 4, "embed_dim": 24, "num_heads": 3},
        tokens(24, 8, prefix=1),
    ),
    "convnext_atto": ({}, maps(40, 80, 160, 320)),
    "resnet10t": ({}, maps(64, 128, 256, 512)),
    "efficientnet_b0": ({}, maps(24, 40, 112, 320, last=1280)),
    "mobilenetv2_050": ({}, maps(16, 16, 48, 160, last=1280)),
    "poolformer_s12": ({}, maps(64, 128, 320, 512)),
}
CASES = [
    *(pytest.param(name, 224, *case, id=f"{name}-224") for name, case in {**LARGE, **LATE_TOKEN}.items()),
    *(pytest.param(name, 32, *case, id=f"{name}-32") for name, case in SMALL.items()),
]


def captured(model, points, images):
    seen = tensors_at(model, points, images)
    return {point.name: to_map(point, seen[point.name]) for point in points}


@pytest.mark.parametrize(("name", "size", "keywords", "expected"), CASES)
@torch.no_grad()
def test_every_point_becomes_a_map(name, size, keywords, expected):
    model = timm_model(model_name=name, num_classes=11, **keywords).eval()
    size = keywords.get("img_size", size)
    points = feature_points(model, input_size=size)
    *stages, last, pooled, _ = points
    assert [p.name for p in points] == [
        *(f"stage{k}" for k in range(1, len(expected))),
        "last_map",
        "pooled",
        "logits",
    ]
    found = [(p.layout, p.prefix_tokens, p.channels, p.stride) for p in (*stages, last)]
    assert found == expected

    images = torch.randn(1, 3, size, size)
    maps = captured(model, points, images)
    for point in points:
        side = -(-size // point.stride) if point.stride else 1
        assert maps[point.name].shape == (1, point.channels, side, side), point.name
    assert maps["logits"].flatten(1).equal(model(images))

    if not hasattr(model, "head_dist"):
        classifier = model.get_submodule(pooled.path)
        vector = maps["pooled"] if isinstance(classifier, nn.Conv2d) else maps["pooled"].flatten(1)
        torch.testing.assert_close(classifier(vector).flatten(1), maps["logits"].flatten(1))
    own = model.forward_intermediates(images, output_fmt="NCHW", intermediates_only=True)
    by_module = dict(zip((entry["module"] for entry in model.feature_info), own, strict=False))
    if len(by_module) == len(own):
        for stage in stages:
            torch.testing.assert_close(maps[stage.name], by_module[stage.path])


@torch.no_grad()
def test_last_map_of_a_vit_is_normalised_and_its_stages_are_not():
    model = timm_model(model_name="vit_tiny_patch16_224", **SMALL_VIT).eval()
    model.norm.weight.fill_(3.0)
    points = feature_points(model)
    images = torch.randn(1, 3, 32, 32)
    maps = captured(model, points, images)
    (normed,) = model.forward_intermediates(images, indices=1, norm=True, intermediates_only=True)
    torch.testing.assert_close(maps["last_map"], normed)
    assert not torch.allclose(maps["stage4"], normed)


def test_quarters_of_the_blocks():
    """Rounded up: of twelve blocks 3, 6, 9, 12; of five 2, 3, 4, 5; of two both."""

    def ends(depth):
        model = timm_model(model_name="vit_tiny_patch16_224", **{**SMALL_VIT, "depth": depth})
        return [p.path for p in feature_points(model) if p.name.startswith("stage")]

    assert ends(12) == ["blocks.2", "blocks.5", "blocks.8", "blocks.11"]
    assert ends(5) == ["blocks.1", "blocks.2", "blocks.3", "blocks.4"]
    assert ends(2) == ["blocks.0", "blocks.1"]


@torch.no_grad()
@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "mixer_b16_224"])
def test_patches_that_form_no_square(name):
    depth = {"depth": 2, "num_heads": 3} if name.startswith("vit") else {"num_blocks": 2}
    model = timm_model(model_name=name, img_size=(16, 32), patch_size=4, embed_dim=24, **depth).eval()
    points = feature_points(model)
    assert points[0].grid == (4, 8)
    images = torch.randn(1, 3, 16, 32)
    own = model.forward_intermediates(images, output_fmt="NCHW", intermediates_only=True)
    torch.testing.assert_close(captured(model, points, images)["stage2"], own[1])


def test_distilled_heads():
    """The logits are the mean of two heads; the pooled vector is what the first one takes."""
    model = timm_model(model_name="deit_tiny_distilled_patch16_224", num_classes=3, **{**SMALL_VIT, "depth": 1}).eval()
    assert feature_point(model, "pooled").path == "head"
    assert feature_point(model, "last_map").prefix_tokens == 2


def test_stride_is_rounded_where_images_do_not_divide():
    model = timm_model(model_name="resnet10t")
    assert feature_point(model, "last_map", input_size=72).stride == 32


@pytest.mark.parametrize(
    ("name", "keywords", "message"),
    [
        (
            "hiera_tiny_224",
            {"embed_dim": 24, "num_heads": 1},
            "the tokens of 'blocks.0' are not in row-major order",
        ),
        ("twins_pcpvt_small", {"depths": [1, 1, 1, 1]}, "Twins has no module 'block.0'"),
        ("crossvit_tiny_240", {}, "feature_info names a module for several maps: blocks.2, blocks.0"),
        ("resnet10t", {"features_only": True}, "it has no method forward_features"),
        ("inception_v3", {}, r"'stage1' .* must be NCHW with one position every 4 pixels"),
    ],
)
def test_what_timm_does_not_tell_is_an_error(name, keywords, message):
    model = timm_model(model_name=name, **keywords)
    with pytest.raises(ValueError, match=rf"are unknown \(.*{message}.*\); declare them by hand: declare_fe"):
        feature_points(model)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.feature_info[-1].update(num_chs=100), r"'stage4' .* has 100 channels on axis 1 of NCHW"),
        (lambda m: m.feature_info[-1].update(reduction=64), r"'stage4' .* one position every 64 pixels"),
        (lambda m: m.feature_info[-1].update(module="layer5"), "ResNet has no module 'layer5'"),
        (lambda m: setattr(m, "feature_info", []), "its feature_info names no modules"),
        (lambda m: setattr(m, "num_features", 100), r"'last_map' .* has 100 channels"),
        (lambda m: setattr(m, "output_fmt", "NHWC"), r"'stage1' .* on axis 3 of NHWC"),
        (lambda m: m.pretrained_cfg.update(classifier=None), "must name the classifier, found None"),
        (lambda m: m.pretrained_cfg.update(classifier="head.fc"), "ResNet has no module 'head.fc'"),
        (lambda m: setattr(m, "forward_features", lambda x: x + 0), "none of its modules returns the last map"),
    ],
)
def test_what_timm_tells_is_verified(change, message):
    model = timm_model(model_name="resnet10t")
    change(model)
    with pytest.raises(ValueError, match=message):
        feature_points(model, input_size=64)


def test_swin_pico():
    """Half as wide as Swin-T in every layer, with the same depths, heads and window."""
    pico = timm_model(model_name="swin_pico_patch4_window7_224")
    tiny = timm_model(model_name="swin_tiny_patch4_window7_224")
    halved = {name: [p.shape[0], *(n // 2 for n in p.shape[1:])] for name, p in tiny.named_parameters()}
    assert [name for name, _ in pico.named_parameters()] == list(halved)
    assert [len(stage.blocks) for stage in pico.layers] == [2, 2, 6, 2]
    assert [stage.blocks[0].attn.num_heads for stage in pico.layers] == [3, 6, 12, 24]
    assert pico.layers[0].blocks[0].window_size == (7, 7)
    assert pico.head.fc.in_features == 384
    assert pico.pretrained_cfg["mean"] == tiny.pretrained_cfg["mean"]
    with pytest.raises(ValueError, match="did you mean 'swin_pico_patch4_window7_224'"):
        timm_model(model_name="swin_pico_patch4_window7_22")
    with pytest.raises(ValueError, match="pretrained must be False for 'swin_pico_patch4_window7_224'"):
        timm_model(model_name="swin_pico_patch4_window7_224", pretrained=True)
    with pytest.raises(ValueError, match=r"\(SwinTransformer\) takes no keyword 'embed_di'; .*'embed_dim'"):
        timm_model(model_name="swin_pico_patch4_window7_224", embed_di=3)
