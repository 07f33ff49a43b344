"""What every registered name promises, whatever the method. A new key needs a row in the tables here."""

import copy
import tempfile

import letkd_files
import pytest
import torch
from detectors import TINY, tiny
from torch import nn
from torchdistill.losses.registry import get_loss_wrapper, get_mid_level_loss
from torchdistill.models.registry import get_auxiliary_model_wrapper, get_model

from kd_plugins.data import Digits
from kd_plugins.entries import ENTRIES
from kd_plugins.methods import METHODS
from kd_plugins.models import CIFAR_MODELS
from kd_plugins.registry import KINDS

STATISTICS_FOLDER = tempfile.TemporaryDirectory()
# What no record can hold: a file.
MORE = {"LetKDLoss": {"statistics": letkd_files.penultimate(f"{STATISTICS_FOLDER.name}/letkd.safetensors", channels=9)}}
# The keywords of one build, as they would stand in YAML.
LOSSES = {loss.key: {**loss.example, **MORE.get(loss.key, {})} for method in METHODS.values() for loss in method.losses}
# Losses of a teacher's tensor that comes out of a projection, which is trained too.
TRAINS_THE_PROJECTION = {"CorrelationLoss"}
ROWS_PER_SAMPLE = {"MLKDLoss": 2}
LOSS_WRAPPERS = {
    "TransformedLoss": {"transforms": [{"key": "standardize", "temperature": 2.0}]},
    "LogitStandardization": {"temperature": 2.0},
    "SalientFeatureMask": {"keep": 3, "by": "magnitude"},
}
ONE_PAIR = {"pairs": [{"name": "flat", "student": {"path": ".", "layout": "NC"}, "channels": 5}], "probe_size": 4}
MODEL_WRAPPERS = {
    "LAKDStudent": {"cuts": "plain", "attention_from": "last", "backward": "eager"},
    "VIDStudent": {**ONE_PAIR, "initial_variance": 2.0, "eps": 0.01},
    "ReviewStudent": {**ONE_PAIR, "mid_channels": 3},
    "ProjectedStudent": {**ONE_PAIR, "dim": 2, "normalize": False},
    "ProjectedTeacher": {"points": [{"name": "flat", "path": ".", "layout": "NC"}]},
    "FrozenTeacher": {
        "student_mean": [0.5] * 3,
        "student_std": [0.2] * 3,
        "mean": [0.0] * 3,
        "std": [1.0] * 3,
    },
    "FeatureStudent": {"points": [{"name": "flat", "path": ".", "layout": "NC"}]},
    "RegressorStudent": {
        "pairs": [{"name": "flat", "student": {"path": ".", "layout": "NC"}, "channels": 5}],
        "probe_size": 4,
    },
    "CTKDStudent": {"level": "instance", "num_classes": 48, "hidden": 4, "initial": 0.5},
}
# Their models take lists of images, and their tests are in tests/host/detection.
DETECTION_WRAPPERS = {"DetectionStudent": {"review": {"mid_channels": 4}}, "DetectionTeacher": {}}
WRAPPED_MODEL = {"LAKDStudent": CIFAR_MODELS["cifar_resnet8"]}  # of others a Flatten
WRAPPED_SIDE = {
    "LAKDStudent": "student_model",
    **dict.fromkeys(["VIDStudent", "ReviewStudent", "ProjectedStudent"], "student_model"),
    "ProjectedTeacher": "teacher_model",
    "FrozenTeacher": "teacher_model",
    "FeatureStudent": "student_model",
    "RegressorStudent": "student_model",
    "CTKDStudent": "student_model",
}
DETECTORS = ("timm_detector",)
BOXES = {"boxes": torch.tensor([[0.0, 0, 2, 2]]), "labels": torch.tensor([1]), "image_id": torch.tensor(0)}
DATASET_WRAPPERS = {"TwoViews": {"strong": repr}}
COLLATE_FUNCTIONS = {"collate_two_views": [((torch.zeros(1), torch.ones(1)), label, {}) for label in (2, 4)]}
COLLATE_FUNCTIONS["collate_detection"] = [(torch.zeros(3, 4, 4), BOXES, {}) for _ in range(2)]
TIMM = {
    "model_name": "vit_tiny_patch16_224",
    "img_size": 32,
    "patch_size": 16,
    "embed_dim": 24,
    "depth": 1,
    "num_heads": 2,
}
MODELS = {
    "simkd_student": {
        "student": {"key": "cifar_resnet8", "kwargs": {"num_classes": 9}},
        "teacher": {"key": "cifar_resnet14", "kwargs": {"num_classes": 7}},
    },
    "letkd_student": {
        "student": {"key": "cifar_resnet8", "kwargs": {"num_classes": 7}},
        "layers": [{"point": "penultimate", "num_scores": 5}, {"point": "intermediate", "num_scores": 6, "alpha": 0.5}],
    },
    "timm_model": {"num_classes": 7, **TIMM},
    "model_with_logits": {"model": {"key": "cifar_resnet8", "kwargs": {"num_classes": 7}}, "logits": "logits"},
    "frozen_teacher": {"model": {"key": "cifar_resnet8", "kwargs": {"num_classes": 7}}, "input_size": 32},
    "teacher_ensemble": {"teachers": [{"key": "cifar_resnet8", "kwargs": {"num_classes": 7}}] * 2},
}


def keys(kind):
    return [entry.key for entry in ENTRIES if entry.kind == kind]


def io_dicts(batch, *, classes=5, dtype=torch.float32):
    generator = torch.Generator().manual_seed(batch)

    def random(*shape):
        return {"output": torch.randn(batch, *shape, generator=generator).to(dtype).requires_grad_()}

    student = {".": random(classes), "layer": random(6, 4, 4)}
    student["temperature"] = {"output": torch.tensor([3.0], requires_grad=True)}
    student["local_losses"] = {"output": torch.tensor([3.0, 1.0], dtype=dtype, requires_grad=True)}
    student |= {f"class_maps.{side}": random(classes, 2, 2) for side in ("student", "teacher")}
    student["regressed"] = {"output": (student["layer"]["output"], torch.full((1, 6, 1, 1), 2.0, dtype=dtype))}
    teacher = {".": random(classes), "layer": random(6, 4, 4), "wide": random(9, 8, 8), "small": random(6, 2, 2)}
    teacher["six"] = random(6, 8, 8)
    return student, {**teacher, **{f"teachers.{m}": random(classes) for m in range(3)}}


def widened(x):
    return tuple(map(widened, x)) if isinstance(x, tuple) else x.detach().float()


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
    assert set(MODEL_WRAPPERS) == set(WRAPPED_SIDE)
    assert {*MODEL_WRAPPERS, *DETECTION_WRAPPERS} == set(keys("model-wrappers"))
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
    shown = (".", "layer", "class_maps.student")
    read = [x["output"].grad for path, x in student.items() if path in shown and x["output"].grad is not None]
    assert student["class_maps.teacher"]["output"].grad is None
    assert len(read) == 1
    assert torch.isfinite(read[0]).all()
    received = {path for path, x in teacher.items() if x["output"].grad is not None}
    assert received == ({"."} if key in TRAINS_THE_PROJECTION else set())
    if samples > 1:
        assert read[0].abs().max() > 0


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
    wide = tuple({path: {"output": widened(x["output"])} for path, x in io.items()} for io in (student, teacher))
    torch.testing.assert_close(value, build(key)(*wide, labels(4)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("key", list(MODEL_WRAPPERS))
def test_a_model_wrapper_copies_and_refuses_unknown_keywords(key):
    given = {
        WRAPPED_SIDE[key]: WRAPPED_MODEL.get(key, nn.Flatten)(),
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
    assert supplement == ([{}, {}] if key == "collate_detection" else {})


@pytest.mark.parametrize("key", list(DETECTION_WRAPPERS))
def test_a_wrapper_of_a_detector_copies_and_refuses_unknown_keywords(key):
    side = "student_model" if key.endswith("Student") else "teacher_model"
    wrapper = get_auxiliary_model_wrapper(key, **{side: tiny()}, **DETECTION_WRAPPERS[key])
    copied = copy.deepcopy(wrapper)
    assert all(torch.equal(tensor, copied.state_dict()[name]) for name, tensor in wrapper.state_dict().items())
    with pytest.raises(TypeError, match="no_such_keyword"):
        get_auxiliary_model_wrapper(key, **{side: tiny()}, no_such_keyword=1)


@pytest.mark.parametrize("key", DETECTORS)
def test_a_detector_builds_by_key_and_refuses_unknown_keywords(key):
    model = get_model(key, **TINY).eval()
    assert model([torch.rand(3, 64, 64)])[0].keys() == {"boxes", "labels", "scores"}
    with pytest.raises(ValueError, match="no_such_keyword"):
        get_model(key, **TINY, no_such_keyword=1)


@pytest.mark.parametrize("key", [key for key in keys("models") if key not in DETECTORS])
def test_a_model_builds_by_key_gives_logits_and_refuses_unknown_keywords(key):
    kwargs = MODELS.get(key, {"num_classes": 7})
    model = get_model(key, **kwargs).eval()
    with torch.no_grad():
        assert model(torch.randn(1, 3, 32, 32)).shape == (1, 7)
    with pytest.raises((ValueError, TypeError), match="no_such_keyword"):
        get_model(key, **kwargs, no_such_keyword=1)
