"""The table of models says what the models themselves say."""

import pytest

from kd_plugins.methods import METHODS
from kd_plugins.models import CIFAR_MODELS, feature_points, timm_model
from kd_plugins.models.letkd import first_block
from kd_plugins.models.points.probe import capture, probe_images
from kd_plugins.pairs.models import MODELS, find_model
from kd_plugins.recipes import Request, recipe

SMALL = (
    "resnet8",
    "resnet8x4",
    "cifar_resnet18",
    "resnet50",
    "wrn_16_2",
    "vgg8",
    "mobilenetv2",
    "shufflenetv1",
    "shufflenetv2",
    "vit",
    "mixer",
)
LARGE = ("resnet18", "resnet26", "mobilenetv1", "mobilenetv2", "convnext_tiny", "vit_small", "deit_tiny", "swin_pico")


def facts(points):
    names = ("name", "path", "io", "layout", "channels", "stride", "prefix_tokens")
    return [tuple(getattr(point, name) for name in names) for point in points]


@pytest.mark.parametrize(
    "model",
    [m for m in MODELS if (m.name in SMALL and m.input_size == 32) or (m.name in LARGE and m.input_size == 224)],
    ids=lambda m: f"{m.name}-{m.key}",
)
def test_points_are_those_of_the_model(model):
    build = CIFAR_MODELS.get(model.key, timm_model)
    found_model = build(**model.kwargs, num_classes=10)
    found = feature_points(found_model)
    named = [point for point in found if point.name != "logits" and not point.name.endswith("_preact")]
    assert facts(model.points) == facts(named)
    assert facts([model.intermediate]) == facts([first_block(found_model)])
    places = [(point.path, point.io) for point in (model.intermediate, model.point("last_map"))]
    size = (model.input_size, model.input_size)
    maps = capture(found_model, probe_images(found_model, size), set(places))
    assert model.single_block == (maps[places[0]] is maps[places[1]])


@pytest.mark.parametrize("name", ["resnet8", "resnet50", "wrn_16_2", "vgg8", "vgg13", "mobilenetv2", "shufflenetv1"])
def test_strides_are_those_of_larger_images(name):
    model = find_model(name, family="cifar").at_size(64)
    found_model = CIFAR_MODELS[model.key](**model.kwargs)
    found = [point for point in feature_points(found_model, input_size=64) if not point.name.endswith("_preact")]
    assert facts(model.points) == facts(found)[:-1]
    assert facts([model.intermediate]) == facts([first_block(found_model, probe_size=64)])


def test_an_unknown_network_has_no_intermediate_layer():
    other = find_model("timm:edgenext_small", family="cnn")
    with pytest.raises(ValueError, match="edgenext_small has no blocks that the recipes know: use letkd1"):
        _ = other.intermediate


def test_every_cifar_network_is_known():
    assert {model.key for model in MODELS if model.key != "timm_model"} == set(CIFAR_MODELS)


def test_a_name_that_two_have_is_that_of_the_data_set():
    assert find_model("resnet50", family="cifar").key == "cifar_resnet50"
    assert find_model("resnet50", family="cnn").kwargs == {"model_name": "resnet50"}
    assert find_model("resnet26", family="cifar").key == "cifar_resnet26"
    assert find_model("resnet26", family="cnn").kwargs == {"model_name": "resnet26"}
    assert find_model("timm:resnet26", family="cifar").kwargs == {"model_name": "resnet26"}
    assert find_model("resnet34", family="cifar").key == "timm_model"
    assert find_model("cifar_resnet34", family="cnn").key == "cifar_resnet34"
    for name in ("wrn-40-2", "WRN_40_2", "cifar_wrn_40_2"):
        assert find_model(name, family="cifar").name == "wrn_40_2"
    assert find_model("timm:vit_small_patch16_224", family="cifar").name == "vit_small"


def test_an_unknown_model_gets_the_nearest_names():
    with pytest.raises(ValueError, match=r"unknown model 'resnet32x5'; did you mean 'resnet32x4'.* timm:NAME"):
        find_model("resnet32x5", family="cifar")
    other = find_model("timm:edgenext_small.usi_in1k", family="cifar")
    assert (other.name, other.points) == ("edgenext_small_usi_in1k", ())
    with pytest.raises(ValueError, match="feature points of edgenext_small_usi_in1k are not in the recipes' table"):
        other.point("stage1")


@pytest.mark.parametrize("unknown", ["teacher", "student"])
def test_only_methods_without_points_take_a_model_outside_the_table(unknown):
    models = {"teacher": "resnet50", "student": "resnet18", unknown: "timm:regnety_002"}
    # CAT-KD finds the maps in the models, SimKD those of the student.
    free = {"aekd", "average", "cat"} | ({"simkd"} if unknown == "student" else set())
    for name, method in METHODS.items():
        request = Request(name, models["teacher"] + ",resnet34" * method.teachers, models["student"], "imagenet")
        if method.on_logits or name in free:
            assert "regnety_002" in recipe(request)
            continue
        with pytest.raises(ValueError, match="feature points of regnety_002 are not in the recipes' table"):
            recipe(request)


def test_lakd_hears_the_stages_of_the_teacher_that_is_given_not_of_the_nearest_row_s():
    for teacher, channels in (("resnet34", [64, 128, 256, 512]), ("resnet50", [256, 512, 1024, 2048])):
        text = recipe(Request("lakd", teacher, "resnet18", "imagenet"))
        assert f"teacher_channels: {channels}\n" in text
    assert "teacher_channels" not in recipe(
        Request("lakd", "resnet34", "resnet18", "imagenet", options=("cuts=every",))
    )
    given = Request("lakd", "resnet50", "resnet18", "imagenet", options=("teacher_channels=[1, 2, 3, 4]",))
    assert "teacher_channels: [1, 2, 3, 4]\n" in recipe(given)
