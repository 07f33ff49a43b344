"""Recipes of detectors: the rows of CKD's table, its schedules, and what does not apply."""

import pytest
import yaml

from kd_plugins.recipes import Request, recipe
from kd_plugins.recipes.detection.schedule import schedule_of
from kd_plugins.recipes.detection.table import PAIRS, ROWS, reported
from kd_plugins.schedules import WarmupSteps


class Loader(yaml.SafeLoader):
    pass


Loader.add_multi_constructor("!", lambda loader, _suffix, node: loader.construct_mapping(node, deep=True))


def read(*request, **more):
    return yaml.load(recipe(Request(*request, **more)), Loader)


@pytest.mark.parametrize("method", [name for name in ROWS if name not in ("teacher", "ce")])
@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_every_row_of_the_table(method, pair):
    text = recipe(Request(method, *pair, "coco"))
    assert f"# Reported: {reported(method, pair)}" in text
    assert "Compare no runs of different schedules" in " ".join(text.split())
    terms = yaml.load(text, Loader)["train"]["criterion"]["kwargs"]["sub_terms"]
    assert list(terms) == method.split("+")
    if "ckd" in terms:
        assert terms["ckd"]["weight"] == 0.1
    if "reviewkd" in terms:
        assert terms["reviewkd"]["weight"] == {"resnet18": 1.2, "resnet50": 1.0, "mobilenetv2": 2.0}[pair[1]]


def test_hooks_and_fusion_are_what_the_terms_read():
    student = read("dkd", "resnet50", "mobilenetv2", "coco")["train"]["student"]
    assert student["forward_hook"]["output"] == ["points.proposals", "points.proposal_labels"]
    assert student["auxiliary_model_wrapper"]["kwargs"] == {}
    both = read("ckd+reviewkd", "resnet50", "mobilenetv2", "coco")
    assert both["train"]["student"]["auxiliary_model_wrapper"]["kwargs"] == {"review": {"mid_channels": 256}}
    assert len(both["train"]["student"]["forward_hook"]["output"]) == 6
    assert both["models"]["student_model"]["kwargs"]["frozen_stages"] == 0  # MobileNetV2


def test_schedules():
    usual = schedule_of(Request("ckd", "resnet101", "resnet18", "coco"), "resnet18", digits=False)
    assert (usual.epochs, usual.batch, usual.steps(0)) == (12, 8, 12 * 14659)
    authors = [
        schedule_of(Request("ckd", "resnet101", name, "coco", schedule="authors"), name, digits=False)
        for name in ("resnet18", "resnet50")
    ]
    assert [(one.epochs, one.batch) for one in authors] == [(12, 4), (25, 8)]
    scheduler = read("ckd", *PAIRS[0], "coco", epochs=1)["train"]["scheduler"]
    assert scheduler["kwargs"]["lr_lambda"]["init"]["kwargs"]["milestones"] == [9772, 13030]
    with pytest.raises(ValueError, match="ascending order"):
        WarmupSteps(milestones=[3, 2])


def test_options_and_any_backbone():
    made = read("ckd+reviewkd", "resnet50", "timm:regnety_032", "coco", options=("ckd.weight=0.5",), batch=2)
    assert made["train"]["criterion"]["kwargs"]["sub_terms"]["ckd"]["weight"] == 0.5
    assert made["models"]["student_model"]["kwargs"]["model_name"] == "regnety_032"
    assert made["train"]["train_data_loader"]["kwargs"]["batch_size"] == 2
    few = read("ce", None, "test_resnet", "canvas-digits", train_images=100)
    assert few["train"]["scheduler"]["kwargs"]["steps_per_epoch"] == 13
    wrapped = read("ckd_ls", *PAIRS[0], "coco")["train"]["criterion"]["kwargs"]["sub_terms"]["ckd_ls"]
    assert wrapped["criterion_wrapper"]["key"] == "LogitStandardization"


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request("mlkd", *PAIRS[0], "coco"), "mlkd is not made for detectors; methods on proposals: ckd,"),
        (Request("ckd_sfkd", *PAIRS[0], "coco"), "ckd_sfkd is not made for detectors"),
        (Request("ckd", None, "resnet18", "coco"), "ckd needs --teacher"),
        (Request("ce", "resnet50", "resnet18", "coco"), "leave --teacher out"),
        (Request("fitnet+reviewkd", *PAIRS[0], "coco"), "use one of them"),
        (Request("ckd", "resnet51", "resnet18", "coco"), "resnet51"),
        (Request("ckd", *PAIRS[0], "coco", size=64), "--size does not apply to coco"),
        (Request("ckd", *PAIRS[0], "coco", transforms="standardize"), "--with does not apply"),
        (Request("ckd", *PAIRS[0], "coco", schedule="cifar_step"), "cifar_step"),
        (Request("ckd", *PAIRS[0], "coco", options=("ce=1",)), "option of ckd on detectors"),
        (Request("reviewkd", *PAIRS[0], "coco", options=("mid_channels=8",)), "option of reviewkd on detectors"),
        (Request("ckd", "resnet10t", "test_resnet", "canvas-digits", schedule="authors"), "one schedule"),
        (Request("ckd", *PAIRS[0], "coco", epochs=0), "--epochs must be"),
        (Request("ckd", *PAIRS[0], "coco", lr=-1.0), "--lr must be"),
    ],
)
def test_refusals(request_, message):
    with pytest.raises(ValueError, match=message):
        recipe(request_)
