"""Every row of the papers' tables is a config, with what the paper trained with and reports."""

from pathlib import Path

import pytest

from kd_plugins.config.config import parse_config
from kd_plugins.recipes import Request, recipe, reported
from kd_plugins.recipes.options import option_words, parse_options
from kd_plugins.recipes.plan import parse_method, sum_name
from kd_plugins.recipes.recipe import sheet_of
from kd_plugins.recipes.tables import ALONE, SETTINGS, TABLES

ROWS = sorted(
    {
        (method, *pair, dataset, option_words(table.options))
        for table in TABLES
        for method, dataset, pair, _ in table.reported()
        # Those of synthetic images need a folder: test_recipe_synthetic.py.
        if method not in ALONE and not dataset.startswith("synthetic")
    }
)


def sheet(method, teacher="resnet32x4", student="resnet8x4", dataset="cifar100", **more):
    return sheet_of(Request(method, teacher, student, dataset, **more))


def term(made, number=0):
    return {**made.terms[number].kwargs, "weight": made.terms[number].weight, "ce": made.ce}


def test_every_row_prints_a_config_that_parses_and_carries_its_accuracies():
    for method, teacher, student, dataset, words in ROWS:
        text = recipe(Request(method, teacher, student, dataset, options=words))
        parse_config(text, Path("row.yaml"))
        lines = [line for line in text.splitlines() if line.startswith("# Reported: ")]
        summands = parse_method(method)
        options = {
            key if len(summands) == 1 else f"{summand.name}.{key}": value
            for summand, own in zip(summands, parse_options(words, summands), strict=True)
            for key, value in own.items()
        }
        assert lines == [f"# Reported: {value}" for value in reported(method, teacher, student, dataset, options)]
        assert lines
        assert all(len(line) <= 120 for line in text.splitlines())
        assert "No table has" not in text


def test_names_in_the_tables_are_canonical():
    for method in {row[0] for row in ROWS} | {setting.method for setting in SETTINGS}:
        assert sum_name(parse_method(method)) == method


def test_numbers_stand_under_their_pairs():
    cells = {
        ("lskd", "resnet32x4", "resnet8x4", "cifar100"): [76.62, 76.66],
        ("mlkd_ls", "resnet50", "mobilenetv2", "cifar100"): [71.19, 71.64],
        ("ckd", "resnet32x4", "shufflenetv1", "cifar100"): [77.72],
        ("sp_sfkd", "wrn_40_2", "shufflenetv1", "cifar100"): [76.11],
        ("sp_sfkd+kd", "wrn_40_2", "shufflenetv1", "cifar100"): [76.76],
        ("letkd2", "resnet50", "mobilenetv2", "tiny-imagenet"): [61.15],
        ("lakd", "resnet34", "resnet18", "imagenet"): [71.51],
        ("dkd_sfkd", "resnet50", "shufflenetv1", "cub200"): [63.99],
        ("sfkd", "resnet26", "resnet8", "cifar10"): [89.09],
        ("at_sfkd", "resnet26", "resnet14", "cifar10"): [92.84],
        ("sp_sfkd", "resnet26", "wrn_16_1", "cifar10"): [92.74],
        ("aekd_f_sfkd", "resnet32x4,resnet32x4,resnet32x4", "vgg8", "cifar100"): [73.80],
        ("cat", "resnet56", "resnet20", "cifar10"): [93.20],
        ("at+kd", "resnet50", "mobilenetv2", "imagenet"): [69.56],
        ("reviewkd_sfkd", "resnet50", "mobilenetv1", "imagenet"): [73.25],
    }
    for row, accuracies in cells.items():
        assert [value.accuracy for value in reported(*row)] == accuracies
    assert reported("letkd1", "resnet56", "resnet20", "cifar100")[0].sd == 0.24


def test_where_papers_differ_each_has_its_say():
    cells = {
        ("kd", "resnet34", "resnet18", "imagenet"): {"LSKD, Table 3": 71.03, "CKD, Tables III and IV": 70.66},
        ("kd", "resnet50", "mobilenetv1", "imagenet"): {"LSKD, Table 3": 70.50, "CKD, Tables III and IV": 68.58},
        ("at", "resnet110", "resnet20", "cifar100"): {"LSKD, Table 2": 70.65, "letKD, Table 1": 70.22},
        ("simkd", "wrn_40_2", "wrn_16_2", "cifar100"): {
            "LSKD, Table 2": 75.53,
            "SFKD, Table 1": 76.23,
            "letKD, Table 1": 76.06,
        },
        ("fitnet", "resnet110", "resnet32", "cifar100"): {"LSKD, Table 2": 71.06, "letKD, Table 6": 71.59},
    }
    for row, sources in cells.items():
        assert {value.source: value.accuracy for value in reported(*row)} == sources


def test_ablations_are_rows_with_options():
    pair = ("resnet32x4", "resnet8x4", "cifar100")
    found = [reported("lskd", *pair, {"weight": weight})[0].accuracy for weight in (0.9, 3.0, 6.0, 12.0, 15.0, 18.0)]
    assert found == [74.14, 76.11, 76.56, 76.56, 76.61, 76.33]
    assert reported("kd", *pair, {"temperature": 2.0, "weight": 18.0})[0].accuracy == 63.45
    assert reported("lskd", *pair, {"scale": False, "weight": 9.0})[0].accuracy == 73.94
    assert reported("lskd", *pair, {"centre": False, "weight": 18.0})[0].accuracy == 76.18
    pair = ("resnet50", "mobilenetv2", "cifar100")
    assert reported("fitnet+letkd1", "resnet110", "resnet32", "cifar100")[0].accuracy == 73.36
    assert reported("fitnet+letkd1", "resnet110", "resnet32", "cifar100", {"letkd1.weight": 0.0})[0].accuracy == 71.80
    assert reported("supcon", *pair)[0].accuracy == 67.72
    assert reported("ckd", *pair, {"triple": "student_teacher_teacher"})[0].accuracy == 69.68
    assert term(sheet("ckd", "resnet50", "mobilenetv2", options=("triple=student_teacher_teacher",))) == {
        "temperature": 1.0,
        "triple": "student_teacher_teacher",
        "weight": 100.0,
        "ce": 1.0,
    }
    alphas = {"alpha_penultimate": 0.0, "alpha_intermediate": 0.0}
    assert reported("letkd2", "resnet56", "resnet20", "cifar100", alphas)[0].accuracy == 71.70


def test_hyperparameters_are_those_of_the_pair():
    assert term(sheet("lskd", "resnet110", "resnet20")) == {"temperature": 4.0, "weight": 12.0, "ce": 0.1}
    made = sheet("lskd", "resnet56", "resnet20", base="dkd")
    assert term(made) == {"alpha": 1.0, "beta": 2.0, "temperature": 3.0, "warmup": 20, "weight": 18.0, "ce": 1.0}
    made = sheet("ckd", "wrn_40_2", "wrn_40_1")
    assert (term(made), made.schedule.batch) == ({"temperature": 2.0, "weight": 50.0, "ce": 1.0}, 32)
    assert term(sheet("ckd"))["weight"] == 100.0
    assert term(sheet("dkd", "vgg13", "vgg8"))["beta"] == 6.0
    assert term(sheet("lskd", "vgg13", "mobilenetv2", base="mlkd"))["weight"] == 6.0
    both = sheet("sfkd", base="at+kd")
    assert [one.weight for one in both.terms] == [1000.0, 1.0]
    assert both.ce == 1.0


@pytest.mark.parametrize(
    ("row", "epochs", "lr"),
    [
        (("kd", "vgg13", "mobilenetv2", "cifar100"), 240, 0.01),
        (("kd", "vgg13", "vgg8", "cifar100"), 240, 0.05),
        (("mlkd", "vgg13", "vgg8", "cifar100"), 480, 0.025),
        (("ckd", "resnet32x4", "shufflenetv1", "cifar100"), 480, 0.01),
        (("lakd", "resnet56", "resnet20", "cifar100"), 300, 0.05),
        (("kd", "vit_small", "resnet18", "cifar100"), 300, 0.05),
        (("kd", "convnext_tiny", "swin_pico", "cifar100"), 300, 0.0005),
        (("lskd", "resnet34", "resnet18", "imagenet"), 100, 0.2),
        (("sfkd", "resnet34", "resnet18", "imagenet"), 120, 0.1),
        (("ckd", "resnet34", "resnet18", "imagenet"), 200, 0.2),
        (("lakd", "resnet34", "resnet18", "imagenet"), 100, 0.1),
    ],
)
def test_schedules_are_those_of_the_paper(row, epochs, lr):
    made = sheet_of(Request(*row))
    assert made.schedule.epochs == epochs
    assert made.schedule.lr_of(mobile=made.student.mobile) == lr


def test_a_pair_outside_the_tables_gets_the_nearest_and_says_so():
    text = recipe(Request("ckd", "vgg19", "vgg11"))
    assert "No table has this pair: the setting of the nearest, vgg13 -> vgg8 on cifar100." in text
    assert "# Reported" not in text
    assert term(sheet("ckd", "wrn_28_4", "wrn_40_1"))["weight"] == 100.0  # the first pair of two WRNs
    text = recipe(Request("lskd", "timm:edgenext_small", "shufflenetv2", base="dist"))
    assert "No table has this pair: the method's defaults." in text
    assert "key: timm_model" in text


def test_one_teacher_or_several():
    with pytest.raises(ValueError, match="kd has one teacher, found --teacher resnet20,resnet56"):
        sheet("kd", "resnet20,resnet56")
    with pytest.raises(ValueError, match="aekd has several teachers, as in --teacher resnet32x4,vgg13"):
        sheet("aekd", "resnet56")
    with pytest.raises(ValueError, match="kd needs --teacher; ce trains a student without one"):
        sheet("kd", None)
    with pytest.raises(ValueError, match="ce trains a student without a teacher"):
        sheet("ce", "resnet56")


def test_two_wrappers_of_the_student_are_refused():
    with pytest.raises(ValueError, match=r"FitNet and VID cannot be added: .*RegressorStudent, VIDStudent"):
        sheet("fitnet+vid")
    with pytest.raises(ValueError, match=r"mlkd\+crd: both methods wrap the training set"):
        sheet("mlkd+crd")
    with pytest.raises(ValueError, match="--with goes before a plain term, but dkd has LogitStandardization"):
        sheet("lskd", base="dkd", transforms="keep_salient")
