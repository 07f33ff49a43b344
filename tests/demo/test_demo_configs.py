from pathlib import Path

import pytest

from kd_plugins.config.build import build_config
from kd_plugins.config.config import parse_config
from kd_plugins.data import Digits
from kd_plugins.demo.configs import Schedule, student_config, teacher_config
from kd_plugins.demo.methods import METHODS, TRANSFORMS, Variant, variants
from kd_plugins.recipes.data.digits import IMAGES

COMMITTED = Path(__file__).resolve().parents[2] / "configs" / "digits"


def built(text):
    return build_config(parse_config(text, Path("demo.yaml")))


@pytest.mark.parametrize("method", METHODS)
def test_every_config_is_valid_and_the_committed_one(method):
    name = "cifar_resnet8.yaml" if method == "ce" else "cifar_resnet8_from_vit.yaml"
    held = parse_config((COMMITTED / method / name).read_text(), Path(name))
    text = student_config(Variant(method))
    assert parse_config(text, Path(name)).canonical() == held.canonical()
    built(text)


def test_the_teacher_is_valid_and_the_committed_one():
    held = parse_config((COMMITTED / "teacher" / "vit.yaml").read_text(), Path("vit.yaml"))
    assert parse_config(teacher_config(), Path("vit.yaml")).canonical() == held.canonical()
    built(teacher_config())


@pytest.mark.parametrize("method", METHODS)
def test_a_student_differs_from_the_baseline_in_teacher_and_criterion_only(method):
    config, base = built(student_config(Variant(method))), built(student_config(Variant("ce")))
    for key in ("num_epochs", "optimizer", "scheduler", "pre_epoch_process"):
        assert config["train"][key] == base["train"][key]
    assert config["train"]["train_data_loader"]["kwargs"] == base["train"]["train_data_loader"]["kwargs"]
    terms = config["train"]["criterion"]["kwargs"]["sub_terms"]
    own = {"ce": [], "letkd1": ["letkd1_penultimate"], "letkd2": ["letkd2_penultimate", "letkd2_intermediate"]}
    assert list(terms) == ["ce", *own.get(method, [method])]
    if method != "ce":
        teacher = config["models"]["teacher_model"]
        assert teacher["src_ckpt"] == "runs/vit/seed0/best.pt"
        assert teacher["kwargs"]["frozen"] is True
        alone = built(teacher_config())["models"]["model"]["kwargs"]
        assert teacher["kwargs"] == {**alone, "frozen": True}


@pytest.mark.parametrize("text", [teacher_config(), student_config(Variant("kd"))], ids=["teacher", "student"])
def test_no_image_is_both_trained_on_and_validated_with(text):
    sets = built(text)["datasets"]
    trained, validated = (set(sets[f"digits/{name}"].indices) for name in ("train", "val"))
    assert not trained & validated
    assert max(validated) + 1 == IMAGES == len(Digits(train=True))
    assert sets["digits/test"].train is False


def test_the_learning_rate_ends_with_the_training():
    for text in (teacher_config(), student_config(Variant("ckd"))):
        config = built(text)
        train, images = config["train"], len(config["datasets"]["digits/train"])
        steps = -(-images // train["train_data_loader"]["kwargs"]["batch_size"])
        kwargs = train["scheduler"]["kwargs"]
        assert (kwargs["steps_per_epoch"], kwargs["epochs"]) == (steps, train["num_epochs"])


def test_a_checkpoint_path_may_hold_anything():
    path = 'a "b": {c} é/best.pt'
    assert built(student_config(Variant("kd"), teacher_checkpoint=path))["models"]["teacher_model"]["src_ckpt"] == path


@pytest.mark.parametrize("transform", [name for name in TRANSFORMS if name != "none"])
@pytest.mark.parametrize("method", [name for name in METHODS if name not in ("ce", "lakd", "letkd1", "letkd2")])
def test_every_transform_goes_before_every_method(method, transform):
    config = built(student_config(Variant(method, transform)))
    term = config["train"]["criterion"]["kwargs"]["sub_terms"][method]
    assert [t["key"] for t in term["criterion_wrapper"]["kwargs"]["transforms"]] == [transform]


@pytest.mark.parametrize(
    ("method", "why"), [("letkd1", "learns clusters"), ("lakd", "reads the student's own losses and class maps")]
)
def test_no_transform_goes_before_what_reads_neither_logits_nor_features(method, why):
    with pytest.raises(ValueError, match=f"--with: no transform goes before {method}, which {why}"):
        student_config(Variant(method, "standardize"))


def test_the_grid_is_every_method_under_every_transform_after_the_baseline():
    found = [variant.key for variant in variants(["kd", "ce", "dkd", "kd"], ["none", "standardize"])]
    assert found == ["ce", "kd", "kd+standardize", "dkd", "dkd+standardize"]
    with pytest.raises(ValueError, match="unknown method 'lsdk'; did you mean 'lskd'"):
        variants(["lsdk"])
    with pytest.raises(ValueError, match="unknown transform 'standardise'; did you mean 'standardize'"):
        variants(["kd"], ["standardise"])
    with pytest.raises(ValueError, match="name at least one transform: none, standardize"):
        variants(["kd"], [])


def test_a_schedule_without_epochs_is_refused():
    with pytest.raises(ValueError, match="student_epochs must be a finite number of at least 1, found 0"):
        Schedule(student_epochs=0)
