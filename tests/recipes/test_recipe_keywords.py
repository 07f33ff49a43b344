"""`--option` takes the keywords of a method's criterion and of its student's wrapper or model."""

import inspect
from pathlib import Path

import pytest
from torchdistill.losses.registry import LOSS_DICT, MIDDLE_LEVEL_LOSS_DICT
from torchdistill.models.registry import AUXILIARY_MODEL_WRAPPER_DICT

from kd_plugins import modules, registry
from kd_plugins._checks import named_keywords
from kd_plugins.config.build import build_config
from kd_plugins.config.config import parse_config
from kd_plugins.config.fake_data import with_fake_data
from kd_plugins.config.validate import Validator
from kd_plugins.host.losses.mid_level import MidLevelLoss
from kd_plugins.methods import METHODS
from kd_plugins.models import simkd_student
from kd_plugins.modules import KDLayer
from kd_plugins.recipes import Request, recipe
from kd_plugins.recipes.options import parse_options
from kd_plugins.recipes.plan import parse_method

registry.register_all()

PLACES = ("student_", "teacher_")
"""Beginning of the keywords that name modules, which a recipe sets."""
SET_BY_THE_RECIPE = {
    "crd": ("input_size", "output_size", "num_negative_samples", "num_samples"),
    "vid": ("feature_pairs",),
    "letkd1": ("kind", "map_size", "fit_dataset_id", "subclasses", "components", "pca"),
    "letkd2": ("kind", "map_size", "fit_dataset_id"),
}
STUDENTS = {
    "cc": "ProjectedStudent", "crd": "ProjectedStudent", "reviewkd": "ReviewStudent", "vid": "VIDStudent",
    "ctkd": "CTKDStudent", "mgd": modules.MaskedGenerator, "simkd": simkd_student, "letkd1": KDLayer,
    "letkd2": KDLayer,
}  # fmt: skip
WORDS = {"by": "magnitude", "fill": "'-inf'", "keep": "0.4", "level": "instance", "form": "norm"}


def defaults(function):
    return {name: parameter.default for name, parameter in named_keywords(function)[0].items()}


def criterion(method):
    found = {**LOSS_DICT, **MIDDLE_LEVEL_LOSS_DICT}[method.key]
    return found.tensor_loss if inspect.isclass(found) and issubclass(found, MidLevelLoss) else found


def other(value):
    return not value if isinstance(value, bool) else 2 * value + 1


@pytest.mark.parametrize("name", METHODS)
def test_a_record_names_every_keyword_of_its_criterion_with_its_default(name):
    method = METHODS[name]
    real = defaults(criterion(method))
    for key, default in method.keywords.items():
        assert real[key] == default
    known = {*method.keywords, *method.values, *method.options, *SET_BY_THE_RECIPE.get(name, ())}
    assert not [key for key in real if key not in known and not key.startswith(PLACES)]


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.student_keywords])
def test_a_record_has_the_keywords_of_its_student(name):
    method, student = METHODS[name], STUDENTS[name]
    real = defaults(AUXILIARY_MODEL_WRAPPER_DICT[student] if isinstance(student, str) else student)
    for key, default in method.student_keywords.items():
        # CC's code does not normalise its projections.
        assert real[key] == default or (name, key) == ("cc", "normalize")


@pytest.mark.parametrize(
    "name", [name for name, method in METHODS.items() if method.keywords or method.student_keywords]
)
def test_every_keyword_reaches_a_valid_config(name):
    method = METHODS[name]
    keywords = {**method.keywords, **method.student_keywords}
    words = [f"{key}={WORDS.get(key) or other(default)}" for key, default in keywords.items()]
    teacher = "resnet32x4,resnet32x4" if method.teachers else "resnet32x4"
    text = recipe(Request(name, teacher, "resnet8x4", options=tuple(words)))
    body = text[text.index("models:") :]
    for word in words:
        assert word.replace("=", ": ") in body
    config = with_fake_data(parse_config(text, Path("recipe.yaml")))
    assert Validator(config, build_config(config)).findings() == []


@pytest.mark.parametrize(
    ("method", "option", "message"),
    [
        ("letkd1", "sharpnes=1", "unknown option of letkd1 'sharpnes'; did you mean 'sharpness'"),
        ("letkd1", "score_scale=high", "--option score_scale=high: the value must be like the default, 3.0"),
        ("ckd", "gather=1", "--option gather=1: the value must be like the default, False"),
        ("ctkd", "level=local", "unknown value of --option level 'local'"),
        ("sfkd", "fill=one", "unknown value of --option fill 'one'; known: -inf, zero"),
    ],
)
def test_a_mistake_is_named(method, option, message):
    with pytest.raises(ValueError, match=message):
        parse_options([option], parse_method(method))
