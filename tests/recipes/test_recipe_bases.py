"""What goes before another method, for every method: a config that says where its settings come from, or a message."""

import dataclasses

import pytest

from kd_plugins.methods import METHODS
from kd_plugins.recipes import Request, recipe
from kd_plugins.recipes import plan as plans
from kd_plugins.recipes.recipe import sheet_of

PAIRS = {
    "cifar100": ("resnet32x4", "resnet8x4"),
    "imagenet": ("resnet34", "resnet18"),
    "digits": ("vit", "resnet8"),
}


def config_or_refusal(before, name, dataset):
    """Return the text, or the message; any other error is one."""
    teacher, student = PAIRS[dataset]
    several = ",".join([teacher] * 2) if METHODS[name].teachers else teacher
    try:
        return recipe(Request(before, several, student, dataset, base=name)), ""
    except ValueError as error:
        return "", str(error)


@pytest.mark.parametrize("dataset", PAIRS)
@pytest.mark.parametrize("before", ["lskd", "sfkd"])
def test_every_base_makes_a_config_or_is_refused_by_name(before, dataset):
    results = {name: config_or_refusal(before, name, dataset) for name in METHODS}
    assert all(message.startswith(name) for name, (text, message) in results.items() if not text)
    refused = {name for name, (text, _) in results.items() if not text and METHODS[name].on_logits}
    assert refused == ({"lskd"} if before == "lskd" else {"lskd", "sfkd"})
    if before == "lskd":
        assert all("LogitStandardization" in text or "LSKDLoss" in text for text, _ in results.values() if text)


def test_a_base_without_a_published_setting_keeps_its_own(monkeypatch):
    new = dataclasses.replace(METHODS["kd"], name="new", title="New", values={"temperature": 3.0}, weight=0.7)
    monkeypatch.setitem(plans.METHODS, "new", new)
    made = sheet_of(Request("lskd", *PAIRS["cifar100"], base="new"))
    (term,) = made.terms
    assert (term.kwargs, term.weight, term.wrapper["key"]) == ({"temperature": 3.0}, 0.7, "LogitStandardization")
    assert "No setting of this combination is published: the weights and temperatures of New alone." in made.head


@pytest.fixture
def two_classes(tmp_path):
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            (tmp_path / split / name).mkdir(parents=True)
            (tmp_path / split / name / "one.png").touch()
    return f"folder:{tmp_path}"


@pytest.mark.parametrize(
    ("method", "base", "said"),
    [
        ("lskd", None, "standardized logits are -1 and +1"),
        ("lskd", "ckd", "standardized logits are -1 and +1"),
        ("dkd", None, "the beta part of DKDLoss is always 0"),
        ("dist", None, "the beta part of DISTLoss has almost no gradient"),
        ("sp+dkd", None, "the beta part of DKDLoss is always 0"),
        ("kd", None, ""),
        ("ckd", None, ""),
    ],
)
def test_two_classes_are_told_of_what_they_leave_out(method, base, said, two_classes):
    head = sheet_of(Request(method, "resnet34", "resnet18", two_classes, base=base)).head
    remarks = [sentence for sentence in head if sentence.startswith("With two classes")]
    assert len(remarks) == bool(said)
    assert said in "".join(remarks)
    assert not any(
        "With two classes" in sentence for sentence in sheet_of(Request(method, *PAIRS["cifar100"], base=base)).head
    )
