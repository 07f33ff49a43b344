"""`--option`: settings other than the tables'."""

import shlex
from pathlib import Path

import pytest

from kd_plugins.cli import main
from kd_plugins.config.config import parse_config
from kd_plugins.host.students.ctkd import LEVELS
from kd_plugins.losses.at import FORMS
from kd_plugins.losses.ckd import TRIPLES
from kd_plugins.losses.mlkd import VARIANTS
from kd_plugins.methods import METHODS
from kd_plugins.modules.local_learning import BACKWARD
from kd_plugins.recipes import Request, recipe, reported
from kd_plugins.recipes.committed import requests
from kd_plugins.recipes.options import parse_options
from kd_plugins.recipes.plan import parse_method
from kd_plugins.recipes.recipe import sheet_of
from kd_plugins.transforms.salient import FILLS, ORDERS

PAIR = ("resnet56", "resnet20")


def sheet(method, *options, pair=PAIR, dataset="cifar10"):
    return sheet_of(Request(method, *pair, dataset, options=options))


def test_an_option_reaches_the_part_that_takes_it():
    made = sheet("lakd", "cuts=[2,5,9]", "absolute=False", "mean_weight=0", "weight=2", "ce=0.5", "batch=128")
    wrapper = made.setting.student.kwargs
    assert wrapper["cuts"] == [2, 5, 9]
    assert (wrapper["absolute"], wrapper["mean_weight"], wrapper["max_weight"]) == (False, 0.0, 0.75)
    assert (made.terms[0].weight, made.ce, made.schedule.batch) == (2.0, 0.5, 128)
    assert sheet("lakd", "normalize=True", "backward=joint").terms[0].kwargs["normalize"] is True
    assert sheet("lakd", "cuts=['layer1.0', 'layer3.2']").setting.student.kwargs["cuts"] == ["layer1.0", "layer3.2"]
    assert sheet("kd", "temperature=1e-1").terms[0].kwargs["temperature"] == 0.1


def test_a_mask_keeps_another_share():
    made = sheet("fitnet_sfkd", "keep=0.3")
    assert made.terms[0].kwargs["keep"] == 0.3
    assert not any("half of the teacher's entries" in line for line in made.head)
    assert any("half of the teacher's entries" in line for line in sheet("fitnet_sfkd").head)
    assert sheet("sp_sfkd", "keep=0.7").terms[0].wrapper == {"key": "SalientFeatureMask", "kwargs": {"keep": 0.7}}
    assert sheet("sfkd", "keep=0.7").terms[0].kwargs["keep"] == 0.7


def test_in_a_sum_an_option_names_its_method():
    made = sheet("sp_sfkd+kd", "kd.weight=0.5", "sp_sfkd.keep=0.3", "kd.temperature=2")
    assert [term.weight for term in made.terms] == [3000.0, 0.5]
    assert made.terms[0].wrapper["kwargs"] == {"keep": 0.3}
    assert made.terms[1].kwargs["temperature"] == 2.0
    assert made.stem == "resnet20_from_resnet56_sp_sfkd.keep_0.3_kd.temperature_2.0_kd.weight_0.5"


@pytest.mark.parametrize(
    ("method", "option", "message"),
    [
        ("lakd", "cutz=[1]", "unknown option of lakd 'cutz'; did you mean 'cuts'"),
        ("kd", "cuts=[1]", "unknown option of kd 'cuts'; known: batch, ce, temperature, weight"),
        ("kd", "temperature", "--option takes KEY=VALUE, such as temperature=2, found 'temperature'"),
        ("kd", "temperature=", "--option takes KEY=VALUE"),
        ("kd", "temperature=hot", "--option temperature=hot: the value must be like the default, 4.0"),
        ("lakd", "absolute=1", "the value must be like the default, True"),
        ("lakd", "cuts=[1", r"--option cuts=\[1: the value is no YAML; a list is KEY=\[1,2\]"),
        ("ckd", "triple=student", "unknown value of --option triple 'student'; did you mean 'student_teacher_student'"),
        ("lakd", "backward=fast", "unknown value of --option backward 'fast'; known: eager, joint"),
        (
            "fitnet_sfkd",
            "keep=1.5",
            r"--option keep=K wants a share in \(0, 1\] or a count, such as 0.5, found keep=1.5",
        ),
        ("sfkd", "keep=half", "--option keep=K wants a share"),
        ("sp+kd", "weight=1", r"needs the method that it is of: sp.weight=... or kd.weight=..."),
        ("sp+kd", "sq.weight=1", "unknown method of --option sq.weight 'sq'"),
        ("sp+kd", "kd.ce=1", "unknown option of kd 'ce'"),
    ],
)
def test_an_option_that_is_none_is_refused(method, option, message):
    with pytest.raises(ValueError, match=message):
        parse_options([option], parse_method(method))


def test_choices_are_the_package_s():
    own = {key: choices for method in METHODS.values() for key, choices in method.choices.items()}
    assert own == {
        "triple": TRIPLES, "backward": BACKWARD, "variant": VARIANTS, "by": ORDERS, "fill": FILLS, "form": FORMS,
        "level": LEVELS,
    }  # fmt: skip


def test_what_stays_is_a_share_or_a_count():
    assert [sheet("sfkd", f"keep={keep}").terms[-1].kwargs["keep"] for keep in ("0.3", "1.0", "16")] == [0.3, 1.0, 16]


def test_an_option_is_given_once():
    with pytest.raises(ValueError, match="--option keep is given twice"):
        parse_options(["keep=0.3", "keep=0.5"], parse_method("sfkd"))


def test_without_a_teacher_there_is_nothing_to_set():
    with pytest.raises(ValueError, match="leave out --teacher, --with and --option"):
        recipe(Request("ce", None, "resnet20", options=("weight=2",)))


def test_every_option_that_a_method_names_reaches_its_config():
    own = {"cuts": "plain", "teacher": "same_depth", "attention_from": "last", "backward": "joint"}
    for name in METHODS["lakd"].options:
        value = own.get(name, {"teacher_channels": "[8,8,8]", "normalize": "True"}.get(name, "4"))
        text = recipe(Request("lakd", *PAIR, options=(f"{name}={value}",)))
        assert f"{name}: {value.replace(',', ', ')}" in "\n".join(text.split("models:")[1:])


def test_lakd_s_tables_are_settings():
    def found(**options):
        return [value.accuracy for value in reported("lakd", *PAIR, "cifar10", options)]

    none = {"mean_weight": 0.0, "max_weight": 0.0}
    cuts = ([3, 6, 9], [2, 5, 9], [1, 4, 9])
    assert [found(cuts=one, **none)[0] for one in cuts] == [93.08, 93.21, 93.27]
    attention = [(False, 0.0, 0.0), (True, 0.5, 0.5), (False, 0.5, 0.5), (True, 0.25, 0.75), (False, 0.25, 0.75)]
    accuracies = []
    for absolute, mean, largest in attention:
        own = {"absolute": absolute, "mean_weight": mean, "max_weight": largest}
        told = {key: value for key, value in own.items() if value != METHODS["lakd"].values[key]}
        if not mean:
            told.pop("absolute")  # of nothing
        accuracies.append(found(cuts=[3, 6, 9], **told)[-1])
    assert accuracies == [93.14, 93.22, 93.27, 93.39, 93.31]
    assert found() == []


def test_the_command_in_a_committed_config_prints_it(capsys):
    for request in requests():
        text = recipe(request)
        head = [line for line in text.splitlines() if line.startswith("# ")]
        start = next(i for i, line in enumerate(head) if line.startswith("# Command: "))
        lines = head[start:]
        end = next((i for i, line in enumerate(lines[1:], 1) if not line.startswith("# --")), len(lines))
        command = " ".join(line.removeprefix("# ").removeprefix("Command: ") for line in lines[:end])
        words = shlex.split(command)
        assert words[:2] == ["kd-plugins", "recipe"]
        assert main(words[1:]) == 0
        assert capsys.readouterr().out == text
        parse_config(text, Path("committed.yaml"))
