"""What every registered name promises, whatever the method. A new key needs a row in the tables here."""

import copy

import pytest
import torch
from torch import nn
from torchdistill.losses.registry import get_loss_wrapper, get_mid_level_loss
from torchdistill.models.registry import get_auxiliary_model_wrapper, get_model

from kd_plugins.registry import ENTRIES

# The keywords of one build, as they would stand in YAML.
LOSSES = {
    "SoftTargetLoss": {"temperature": 4.0},
    "LSKDLoss": {"temperature": 2.0, "correction": 1},
    "CKDLoss": {"temperature": 0.5, "triple": "student_teacher_student"},
}
LOSS_WRAPPERS = {
    "TransformedLoss": {"transforms": [{"key": "standardize", "temperature": 2.0}]},
    "LogitStandardization": {"temperature": 2.0},
}
MODEL_WRAPPERS = {
    "FrozenTeacher": {
        "student_mean": [0.5] * 3,
        "student_std": [0.2] * 3,
        "mean": [0.0] * 3,
        "std": [1.0] * 3,
    }
}
TIMM = {
    "model_name": "vit_tiny_patch16_224",
    "img_size": 32,
    "patch_size": 16,
    "embed_dim": 24,
    "depth": 1,
    "num_heads": 2,
}


def keys(kind):
    return [entry.key for entry in ENTRIES if entry.kind == kind]


def io_dicts(batch, *, classes=5, dtype=torch.float32):
    generator = torch.Generator().manual_seed(batch)
    student = torch.randn(batch, classes, generator=generator).to(dtype).requires_grad_()
    teacher = torch.randn(batch, classes, generator=generator).to(dtype).requires_grad_()
    return {".": {"output": student}}, {".": {"output": teacher}}


def build_loss(key, **more):
    return get_mid_level_loss({"key": key, "kwargs": {**LOSSES[key], **more}})


def wrapped(key, **more):
    return get_loss_wrapper(build_loss("SoftTargetLoss"), {"key": key, "kwargs": {**LOSS_WRAPPERS[key], **more}})


ALL_LOSSES = [pytest.param(build_loss, key, id=key) for key in LOSSES]
ALL_LOSSES += [pytest.param(wrapped, key, id=key) for key in LOSS_WRAPPERS]


def test_every_key_has_its_row():
    assert set(LOSSES) == set(keys("losses"))
    assert set(LOSS_WRAPPERS) == set(keys("loss-wrappers"))
    assert set(MODEL_WRAPPERS) == set(keys("model-wrappers"))


@pytest.mark.parametrize(("build", "key"), ALL_LOSSES)
@pytest.mark.parametrize("batch", [1, 7])
def test_a_loss_is_a_finite_scalar_with_gradient_for_the_student_alone(build, key, batch):
    student, teacher = io_dicts(batch)
    value = build(key)(student, teacher, torch.zeros(batch, dtype=torch.long))
    assert value.shape == ()
    assert torch.isfinite(value)
    value.backward()
    assert torch.isfinite(student["."]["output"].grad).all()
    assert teacher["."]["output"].grad is None
    if batch > 1:
        assert student["."]["output"].grad.abs().max() > 0


@pytest.mark.parametrize(("build", "key"), ALL_LOSSES)
def test_a_loss_refuses_an_unknown_keyword(build, key):
    with pytest.raises((ValueError, TypeError), match="no_such_keyword"):
        build(key, no_such_keyword=1)


@pytest.mark.parametrize(("build", "key"), ALL_LOSSES)
def test_a_loss_copies_and_shows_itself(build, key):
    loss = build(key)
    pair = io_dicts(3)
    assert torch.equal(copy.deepcopy(loss)(*pair, None), loss(*pair, None))
    assert key in repr(loss)


@pytest.mark.parametrize(("build", "key"), ALL_LOSSES)
def test_a_loss_holds_no_parameters_and_no_state(build, key):
    loss = build(key)
    assert not list(loss.parameters())
    assert not loss.state_dict()


@pytest.mark.parametrize(("build", "key"), ALL_LOSSES)
def test_a_loss_widens_half_precision(build, key):
    student, teacher = io_dicts(4, dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = build(key)(student, teacher, None)
    assert value.dtype == torch.float32
    wide = tuple({".": {"output": io["."]["output"].detach().float()}} for io in (student, teacher))
    torch.testing.assert_close(value, build(key)(*wide, None), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("key", list(MODEL_WRAPPERS))
def test_a_model_wrapper_copies_and_refuses_unknown_keywords(key):
    given = {
        "teacher_model": nn.Flatten(),
        "device": torch.device("cpu"),
        "device_ids": None,
        "distributed": False,
    }
    wrapper = get_auxiliary_model_wrapper(key, **given, **MODEL_WRAPPERS[key])
    batch = torch.rand(2, 3, 4, 4)
    assert torch.equal(copy.deepcopy(wrapper)(batch), wrapper(batch))
    with pytest.raises(TypeError, match="no_such_keyword"):
        get_auxiliary_model_wrapper(key, **given, no_such_keyword=1)


@pytest.mark.parametrize("key", keys("models"))
def test_a_model_builds_by_key_gives_logits_and_refuses_unknown_keywords(key):
    kwargs = {"num_classes": 7, **(TIMM if key == "timm_model" else {})}
    model = get_model(key, **kwargs).eval()
    with torch.no_grad():
        assert model(torch.randn(1, 3, 32, 32)).shape == (1, 7)
    with pytest.raises(ValueError, match="no_such_keyword"):
        get_model(key, **kwargs, no_such_keyword=1)
