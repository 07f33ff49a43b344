"""What every registered name promises, whatever the method. A new key needs a row in the tables here."""

import copy

import pytest
import torch
from torch import nn
from torchdistill.losses.registry import get_loss_wrapper, get_mid_level_loss
from torchdistill.models.registry import get_auxiliary_model_wrapper, get_model

from kd_plugins.data import Digits
from kd_plugins.registry import ENTRIES, KINDS

# The keywords of one build, as they would stand in YAML.
LOSSES = {
    "SoftTargetLoss": {"temperature": 4.0},
    "LSKDLoss": {"temperature": 2.0, "correction": 1},
    "CKDLoss": {"temperature": 0.5, "triple": "student_teacher_student"},
    "SFKDLoss": {"keep": 0.6, "fill": "-inf"},
    "DKDLoss": {"alpha": 1.0, "beta": 2.0, "temperature": 2.0, "warmup": 5},
    "CTKDLoss": {},
    "MLKDLoss": {"temperatures": [2, 3.0], "variant": "authors"},
}
ROWS_PER_SAMPLE = {"MLKDLoss": 2}
LOSS_WRAPPERS = {
    "TransformedLoss": {"transforms": [{"key": "standardize", "temperature": 2.0}]},
    "LogitStandardization": {"temperature": 2.0},
    "SalientFeatureMask": {"keep": 3, "by": "magnitude"},
}
MODEL_WRAPPERS = {
    "FrozenTeacher": {
        "student_mean": [0.5] * 3,
        "student_std": [0.2] * 3,
        "mean": [0.0] * 3,
        "std": [1.0] * 3,
    },
    "CTKDStudent": {"level": "instance", "num_classes": 48, "hidden": 4, "initial": 0.5},
}
WRAPPED_SIDE = {"FrozenTeacher": "teacher_model", "CTKDStudent": "student_model"}
DATASET_WRAPPERS = {"TwoViews": {"strong": repr}}
COLLATE_FUNCTIONS = {"collate_two_views": [((torch.zeros(1), torch.ones(1)), label, {}) for label in (2, 4)]}
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
    temperature = torch.tensor([3.0], requires_grad=True)
    return {".": {"output": student}, "temperature": {"output": temperature}}, {".": {"output": teacher}}


def labels(batch):
    return torch.arange(batch) % 5


def build_loss(key, **more):
    return get_mid_level_loss({"key": key, "kwargs": {**LOSSES[key], **more}})


def wrapped(key, **more):
    return get_loss_wrapper(build_loss("SoftTargetLoss"), {"key": key, "kwargs": {**LOSS_WRAPPERS[key], **more}})


ALL_LOSSES = [pytest.param(build_loss, key, id=key) for key in LOSSES]
ALL_LOSSES += [pytest.param(wrapped, key, id=key) for key in LOSS_WRAPPERS]


def test_every_key_has_its_row():
    assert set(LOSSES) == set(keys("losses"))
    assert set(LOSS_WRAPPERS) == set(keys("loss-wrappers"))
    assert set(MODEL_WRAPPERS) == set(keys("model-wrappers")) == set(WRAPPED_SIDE)
    assert set(DATASET_WRAPPERS) == set(keys("dataset-wrappers"))
    assert set(COLLATE_FUNCTIONS) == set(keys("collate-functions"))


@pytest.mark.parametrize(("build", "key"), ALL_LOSSES)
@pytest.mark.parametrize("samples", [1, 7])
def test_a_loss_is_a_finite_scalar_with_gradient_for_the_student_alone(build, key, samples):
    batch = samples * ROWS_PER_SAMPLE.get(key, 1)
    student, teacher = io_dicts(batch)
    value = build(key)(student, teacher, labels(batch))
    assert value.shape == ()
    assert torch.isfinite(value)
    value.backward()
    assert torch.isfinite(student["."]["output"].grad).all()
    assert teacher["."]["output"].grad is None
    if samples > 1:
        assert student["."]["output"].grad.abs().max() > 0


@pytest.mark.parametrize(("build", "key"), ALL_LOSSES)
def test_a_loss_refuses_an_unknown_keyword(build, key):
    with pytest.raises((ValueError, TypeError), match="no_such_keyword"):
        build(key, no_such_keyword=1)


@pytest.mark.parametrize(("build", "key"), ALL_LOSSES)
def test_a_loss_copies_and_shows_itself(build, key):
    loss = build(key)
    pair = io_dicts(4)
    assert torch.equal(copy.deepcopy(loss)(*pair, labels(4)), loss(*pair, labels(4)))
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
        value = build(key)(student, teacher, labels(4))
    assert value.dtype == torch.float32
    wide = tuple({**io, ".": {"output": io["."]["output"].detach().float()}} for io in (student, teacher))
    torch.testing.assert_close(value, build(key)(*wide, labels(4)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("key", list(MODEL_WRAPPERS))
def test_a_model_wrapper_copies_and_refuses_unknown_keywords(key):
    given = {
        WRAPPED_SIDE[key]: nn.Flatten(),
        "device": torch.device("cpu"),
        "device_ids": None,
        "distributed": False,
    }
    wrapper = get_auxiliary_model_wrapper(key, **given, **MODEL_WRAPPERS[key]).eval()
    batch = torch.rand(2, 3, 4, 4)
    assert torch.equal(copy.deepcopy(wrapper)(batch), wrapper(batch))
    with pytest.raises(TypeError, match="no_such_keyword"):
        get_auxiliary_model_wrapper(key, **given, no_such_keyword=1)


@pytest.mark.parametrize("key", list(DATASET_WRAPPERS))
def test_a_dataset_wrapper_gives_every_sample_with_a_supplement(key):
    samples = Digits(train=False, transform=repr)
    build = KINDS["dataset-wrappers"].table[key]
    wrapper = build(samples, **DATASET_WRAPPERS[key])
    assert len(wrapper) == len(samples)
    assert wrapper[5][1:] == (samples[5][1], {})
    with pytest.raises(TypeError, match="no_such_keyword"):
        build(samples, **DATASET_WRAPPERS[key], no_such_keyword=1)


@pytest.mark.parametrize("key", list(COLLATE_FUNCTIONS))
def test_a_collate_function_gives_a_batch_labels_and_a_supplement(key):
    batch, targets, supplement = KINDS["collate-functions"].table[key](COLLATE_FUNCTIONS[key])
    assert len(batch) == len(targets)
    assert supplement == {}


@pytest.mark.parametrize("key", keys("models"))
def test_a_model_builds_by_key_gives_logits_and_refuses_unknown_keywords(key):
    kwargs = {"num_classes": 7, **(TIMM if key == "timm_model" else {})}
    model = get_model(key, **kwargs).eval()
    with torch.no_grad():
        assert model(torch.randn(1, 3, 32, 32)).shape == (1, 7)
    with pytest.raises(ValueError, match="no_such_keyword"):
        get_model(key, **kwargs, no_such_keyword=1)
