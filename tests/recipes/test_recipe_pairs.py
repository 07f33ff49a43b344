"""Every method on every pair of the papers' tables is a config."""

import re

import pytest

from kd_plugins.host.lakd.alignment import student_points, teacher_points
from kd_plugins.host.lakd.anatomy import anatomy
from kd_plugins.methods import METHODS
from kd_plugins.methods.lakd import heard_stages
from kd_plugins.models import CIFAR_MODELS, timm_model
from kd_plugins.pairs.models import find_model
from kd_plugins.recipes import Request, recipe
from kd_plugins.recipes.recipe import sheet_of
from kd_plugins.recipes.tables import SETTINGS, TABLES, pairs_of, split_pairs

PAIRS = sorted(
    {
        (part.dataset, *pair)
        for part in (*TABLES, *SETTINGS)
        if not part.dataset.startswith("synthetic")  # needs a folder: test_recipe_synthetic.py
        for pair in split_pairs(part.pairs)
    }
)
NAMES = [
    *METHODS,
    *(f"{name}_ls" for name, method in METHODS.items() if method.on_logits and name not in ("lskd", "kd")),
    *(f"{name}_sfkd" for name, method in METHODS.items() if method.maskable and name not in ("lskd", "sfkd", "kd")),
]
STAGES = [
    # LAKD, where the student has another number of stages
    ("wrn_40_2", "mobilenetv2", "cifar100", [32, 64, 128, 128]),
    ("resnet32x4", "mobilenetv2", "cub200", [64, 128, 256, 256]),
    ("vgg13", "mobilenetv2", "cifar100", [128, 256, 512, 512]),
    ("vgg13", "mobilenetv2", "cub200", [128, 256, 512, 512]),
    ("vgg13", "wrn_16_2", "cifar100", [128, 512, 512]),
    ("resnet50", "wrn_16_2", "cifar100", [512, 1024, 2048]),
    ("resnet50", "shufflenetv1", "cub200", [512, 1024, 2048]),
    ("resnet50", "vgg8", "cifar100", [256, 512, 1024, 2048, 2048]),
]
NO_TABLE = "No table has this pair"


def refusal(method, teacher, dataset):
    """Return why a method cannot have a teacher, or several, or a data set; None where it can."""
    base = method.removesuffix("_sfkd").removesuffix("_ls")
    several = METHODS[base].teachers
    if base == "crd" and dataset == "digits" and "," not in teacher:
        return "crd needs the labels of the whole training set, which a part of digits lacks"
    if several and "," not in teacher:
        return f"{method} has several teachers, as in --teacher resnet32x4,vgg13; found --teacher {teacher}"
    return f"{method} has one teacher, found --teacher {teacher}" if "," in teacher and not several else None


def test_every_method_on_every_pair():
    printed = 0
    for method in NAMES:
        for dataset, teacher, student in PAIRS:
            message = refusal(method, teacher, dataset)
            request = Request(method, teacher, student, dataset)
            if message is None:
                text = recipe(request)
                assert f"Command: {request.command}" in text.replace("\n# ", " ")
                assert all(len(line) <= 120 for line in text.splitlines())
                printed += 1
            else:
                with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
                    recipe(request)
    assert printed > 1500


def test_a_pair_that_no_table_of_the_method_has_says_so():
    for method in METHODS:
        for dataset, teacher, student in PAIRS:
            if refusal(method, teacher, dataset) is None and dataset != "digits":
                known = (teacher, student) in pairs_of(method, dataset)
                text = recipe(Request(method, teacher, student, dataset))
                assert (NO_TABLE in text) == (not known), (method, teacher, student, dataset)


@pytest.mark.parametrize(("teacher", "student", "dataset", "channels"), STAGES)
def test_modules_of_a_student_with_other_stages_hear_those_at_their_depth(teacher, student, dataset, channels):
    request = Request("lakd", teacher, student, dataset)
    assert sheet_of(request).setting.student.kwargs["teacher_channels"] == channels
    text = recipe(request)
    assert "hear those of the teacher that end at the same share of the depth" in text.replace("\n# ", " ")


@pytest.mark.parametrize(
    ("teacher", "student"),
    [("wrn_16_2", "mobilenetv2"), ("vgg8", "mobilenetv2"), ("vgg8", "wrn_16_2"), ("resnet8", "vgg8"), ("vit", "vgg8")],
)
def test_the_stages_that_are_told_are_those_that_are_heard(teacher, student):
    models = [find_model(name, family="cifar") for name in (student, teacher)]
    parts = [anatomy(CIFAR_MODELS.get(model.key, timm_model)(**model.kwargs)) for model in models]
    points = teacher_points(parts[1], parts[0], student_points(parts[0], "shifted"), "stage_ends")
    assert [point.name for point in points] == heard_stages(*models)


def test_cuts_of_one_s_own_are_not_told_as_stages():
    own = recipe(Request("lakd", "wrn_40_2", "mobilenetv2", options=("cuts=[2,5]", "teacher_channels=[32,128]")))
    assert "share of the depth" not in own


def test_the_intermediate_layer_of_a_vgg_is_told():
    for teacher, student, paths in (
        ("vgg13", "vgg8", ["relu4", "block4.2"]),
        ("vgg13", "wrn_16_2", ["relu4", "block4.2"]),
        ("vgg8", "resnet8", ["relu4", "relu3"]),
    ):
        request = Request("letkd2", teacher, student)
        assert sheet_of(request).setting.teacher.hooks == {"output": paths}
        assert "No letKD-2 with a VGG is published." in recipe(request)
        assert "letKD-2 with a VGG" not in recipe(Request("letkd1", teacher, student))


def test_the_intermediate_layer_is_before_a_last_stage_of_one_block():
    places = {
        ("resnet20", "resnet8", "fashion-mnist"): {"name": "intermediate", "point": "stage2"},
        ("resnet20", "resnet14", "fashion-mnist"): {"point": "intermediate"},
        ("resnet32x4", "resnet8x4", "cifar100"): {"point": "intermediate"},  # the paper's pair
    }
    for pair, place in places.items():
        request = Request("letkd2", *pair)
        layer = sheet_of(request).setting.student_model["kwargs"]["layers"][1]
        assert {key: layer.get(key) for key in place} == place
        assert ("The student's last stage is a single block" in recipe(request)) is ("name" in place)
