import copy

import pytest
import torch
from torch import nn
from torchdistill.common.module_util import get_module, unfreeze_module_params

from kd_plugins.host.teachers.wrapper import FrozenTeacher
from kd_plugins.models import timm_model

STUDENT = {"student_mean": [0.5071, 0.4867, 0.4408], "student_std": [0.2675, 0.2565, 0.2761]}


def small_vit(**kwargs):
    return timm_model(
        model_name="vit_tiny_patch16_224", img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=2,
        num_classes=5, **kwargs,
    )  # fmt: skip


def normalised(images, mean, std):
    return (images - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]


def bn_teacher():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.LazyLinear(5))


def test_logits_equal_the_teacher_on_its_own_preprocessing():
    teacher = small_vit().eval()
    images = torch.rand(4, 3, 32, 32)
    own = normalised(images, [0.5] * 3, [0.5] * 3)  # what timm's ViT was trained with
    students = normalised(images, *STUDENT.values())
    with torch.no_grad():
        expected = teacher(own)
    torch.testing.assert_close(FrozenTeacher(teacher, **STUDENT)(students), expected, atol=1e-5, rtol=1e-5)
    assert (teacher(students) - expected).abs().max() > 1e-3  # without the wrapper it would be wrong


def test_is_exactly_the_identity_when_both_sides_agree():
    teacher = FrozenTeacher(small_vit(), student_mean=[0.5] * 3, student_std=[0.5] * 3, input_size=32)
    batch = torch.randn(2, 3, 32, 32)
    assert teacher.prepare(batch) is batch
    assert FrozenTeacher(small_vit()).prepare(batch) is batch


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_resizes_to_the_teachers_input_with_antialiasing(interpolation):
    teacher = FrozenTeacher(nn.Identity(), input_size=[16, 8], interpolation=interpolation)
    batch = torch.rand(2, 3, 64, 64)
    expected = nn.functional.interpolate(batch, (16, 8), mode=interpolation, antialias=True)
    torch.testing.assert_close(teacher(batch), expected)


def test_stays_in_eval_mode_and_unchanged_in_training():
    inner = bn_teacher()
    inner(torch.randn(2, 3, 6, 6))
    teacher = FrozenTeacher(inner)
    before = copy.deepcopy(inner.state_dict())
    for _ in range(3):
        teacher.train()
        unfreeze_module_params(teacher)  # torchdistill does so between stages
        assert not teacher(5 * torch.randn(4, 3, 6, 6)).requires_grad
    assert not teacher.training
    assert not any(p.requires_grad for p in inner.parameters())
    for name, value in inner.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_paths_and_state_dict_are_the_teachers():
    inner = small_vit()
    teacher = FrozenTeacher(inner)
    assert get_module(teacher, "blocks.1") is inner.blocks[1]
    assert get_module(teacher, "teacher_model.blocks.1") is inner.blocks[1]
    assert teacher.state_dict().keys() == inner.state_dict().keys()
    other = small_vit()
    teacher.load_state_dict(other.state_dict())
    assert torch.equal(inner.head.weight, other.head.weight)
    assert copy.deepcopy(teacher).blocks is not inner.blocks
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = teacher.no_such_thing


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"mean": [0.5] * 3}, r"also set student_mean and student_std"),
        (
            {"student_mean": [0.5] * 3},
            r"student_std, mean, std must be given to renormalise: the normalisation of the teacher \(Flatten\)",
        ),
        (
            {"student_mean": [0.5], "student_std": [0.0], "mean": [0.5], "std": [1.0]},
            r"student_std must be above 0",
        ),
        (
            {"student_mean": [0.5], "student_std": [1.0], "mean": [0.5] * 3, "std": [1.0]},
            r"one entry per channel each",
        ),
        (
            {"student_mean": 0.5, "student_std": [1.0], "mean": [0.5], "std": [1.0]},
            r"student_mean must be a list",
        ),
        ({"input_size": 0}, r"input_size must be a whole number or \[H, W\].*found 0"),
        (
            {"interpolation": "nearest"},
            r"interpolation must be one of 'bicubic', 'bilinear', found 'nearest'",
        ),
    ],
)
def test_mistakes(kwargs, message):
    with pytest.raises(ValueError, match=message):
        FrozenTeacher(nn.Flatten(), **kwargs)
