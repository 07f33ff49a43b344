import pytest
import torch
from torch import nn

from kd_plugins.host.students.feature import RegressorStudent
from kd_plugins.models import CIFAR_MODELS
from kd_plugins.modules import MaskedGenerator


def test_whole_channels_are_masked_in_training_only():
    generator = MaskedGenerator(8, 8, mask_ratio=0.5)
    generator.generation = nn.Identity()
    maps = torch.ones(64, 8, 3, 3)
    shares = generator(maps).mean((2, 3))
    assert set(shares.unique().tolist()) == {0.0, 1.0}
    assert 0.4 < shares.mean() < 0.6
    assert torch.equal(generator.eval()(maps), maps)


@pytest.mark.parametrize(("resize", "size"), [("none", 4), ("half", 2), ("double", 8)])
def test_channels_and_size_become_the_teachers(resize, size):
    assert MaskedGenerator(3, 5, resize=resize)(torch.zeros(2, 3, 4, 4)).shape == (2, 5, size, size)


@pytest.mark.parametrize("ratio", [-0.1, 1])
def test_a_ratio_out_of_range_is_named(ratio):
    with pytest.raises(ValueError, match="mask_ratio"):
        MaskedGenerator(3, 5, mask_ratio=ratio)


def wrapped(regressor):
    return RegressorStudent(
        CIFAR_MODELS["cifar_resnet8"](num_classes=4), pairs=[{"student": "stage3", "channels": 5}], regressor=regressor
    )


def test_a_wrapper_builds_it_by_its_key():
    student = wrapped({"key": "MaskedGenerator", "kwargs": {"mask_ratio": 0.25}})
    (generator,) = student.regressors.values()
    assert isinstance(generator, MaskedGenerator)
    assert generator.mask_ratio == 0.25
    student.train()(torch.zeros(2, 3, 32, 32)).sum().backward()


@pytest.mark.parametrize(
    ("regressor", "message"),
    [
        ({"key": "MaskedGenerater"}, "unknown regressor 'MaskedGenerater'; did you mean 'MaskedGenerator'"),
        ({"key": "MaskedGenerator", "kwargs": {"ratio": 1}}, "takes no keyword 'ratio'"),
        ({"key": "MaskedGenerator", "kwargs": {"resize": "half"}}, "takes no keyword 'resize'"),
        ("MaskedGenerator", "regressor must be a mapping"),
    ],
)
def test_a_wrong_regressor_is_named(regressor, message):
    with pytest.raises(ValueError, match=message):
        wrapped(regressor)
