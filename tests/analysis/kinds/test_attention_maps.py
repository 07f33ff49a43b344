"""Attention maps, and the distance of two models' maps."""

import pytest
import studies
import torch

from kd_plugins._errors import ConfigError
from kd_plugins.analysis.kinds.attention import Attention, aligned
from kd_plugins.losses import attention_transfer_loss
from kd_plugins.models import CIFAR_MODELS
from kd_plugins.transforms import activation_map


def test_the_distance_is_the_loss_over_all_images():
    data = studies.images(12)
    teacher, student = CIFAR_MODELS["cifar_vgg13"](num_classes=5), studies.network()
    found = studies.drawn(Attention(points=["stage1", "stage3"]), studies.study(teacher, data=data, student=student))
    assert found["points"] == {"teacher": ["stage1", "stage3"], "student": ["stage1", "stage3"]}
    paths = {"stage1": ("layer1", "block0"), "stage3": ("layer3", "block2")}
    for pair in found["distance"]["student"]:
        own, other = paths[pair["student"]]
        other = dict(studies.study(teacher).teacher.inside.feature_paths())[pair["teacher"]][0]
        expected = attention_transfer_loss(
            studies.feature(student, own, data.tensors[0]), studies.feature(teacher, other, data.tensors[0])
        )
        assert pair["distance"] == pytest.approx(expected.item(), rel=1e-4)


def test_a_student_that_is_its_teacher():
    model = studies.network()
    found = studies.drawn(Attention(), studies.study(model, same=model))
    assert [pair["distance"] for pair in found["distance"]["same"]] == [0, 0, 0]
    assert len(found["shown"]["maps"]["same"]["stage2"]) == 2


def test_stages_of_different_numbers():
    assert aligned(["a"], ["x", "y", "z"]) == [("a", "z")]
    assert aligned(["a", "b", "c"], ["x", "y"]) == [("a", "x"), ("b", "y"), ("c", "y")]


def test_the_five_settings_of_lakd():
    model, data = studies.network(), studies.images()
    analysis = Attention(ndam=True, points=["last_map"])
    found = studies.drawn(analysis, studies.study(model, data=data, student=studies.network()))
    maps = found["shown"]["maps"]["teacher"]
    assert list(maps) == [
        "attention", "abs, 0, 0", "abs, 0.5, 0.5", "no abs, 0.5, 0.5", "abs, 0.25, 0.75", "no abs, 0.25, 0.75"
    ]  # fmt: skip
    last = studies.feature(model, "layer3", data.tensors[0][:1])
    expected = activation_map(last, mean_weight=0.25, max_weight=0.75, absolute=False)
    torch.testing.assert_close(torch.tensor(maps["no abs, 0.25, 0.75"][:1]), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(ConfigError, match="--ndam is of a teacher"):
        studies.result(analysis, studies.study(student=model))
