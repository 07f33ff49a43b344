"""Losses against several teachers, as configs name them."""

import pytest
import torch
from torchdistill.losses.registry import get_loss_wrapper, get_mid_level_loss

import kd_plugins  # noqa: F401
from kd_plugins.losses import aekd_feature_loss, aekd_loss, average_ensemble_loss
from kd_plugins.transforms import keep_salient, standardize

PATHS = ["teachers.0", "teachers.1", "teachers.2"]
LIST = {"teacher_module_path": PATHS}


@pytest.fixture
def logits():
    student, *teachers = torch.randn(4, 6, 10)
    return student.requires_grad_(), [2 * v for v in teachers]


def io_dicts(student, teachers):
    # The ensemble's own output is there too, and is not what these losses read.
    teacher_io = {".": {"output": torch.zeros(6, 10)}}
    return {".": {"output": student}}, {
        **teacher_io,
        **{path: {"output": v} for path, v in zip(PATHS, teachers, strict=True)},
    }


def built(key, wrapper=None, **kwargs):
    section = {"key": key, "kwargs": {**LIST, **kwargs}}
    return get_mid_level_loss(section, wrapper)


@pytest.mark.parametrize(("key", "function"), [("AEKDLoss", aekd_loss), ("AverageEnsembleLoss", average_ensemble_loss)])
def test_reads_the_students_output_and_a_list_of_teachers(logits, key, function):
    student, teachers = logits
    loss = built(key, temperature=2.0)
    assert torch.equal(loss(*io_dicts(student, teachers)), function(student, teachers, temperature=2.0))
    assert f"student='.' output, teacher={PATHS} output" in repr(loss)


@pytest.mark.parametrize(("key", "function"), [("AEKDLoss", aekd_loss), ("AverageEnsembleLoss", average_ensemble_loss)])
@pytest.mark.parametrize("fill", ["zero", "-inf"])
def test_a_mask_around_the_loss_reaches_every_teacher(logits, key, function, fill):
    student, teachers = logits
    loss = built(key, {"key": "SalientFeatureMask", "kwargs": {"keep": 0.4, "fill": fill}})
    value = loss(*io_dicts(student, teachers))
    torch.testing.assert_close(value, function(student, teachers, keep=0.4, fill=fill))
    torch.testing.assert_close(value, built(key, keep=0.4, fill=fill)(*io_dicts(student, teachers)))
    assert (value - function(student, teachers)).abs() > 1e-3
    everything = built(key, {"key": "SalientFeatureMask", "kwargs": {"keep": 1.0}})
    assert torch.equal(everything(*io_dicts(student, teachers)), function(student, teachers))


def test_a_mask_of_its_own_for_each_teacher(logits):
    student, teachers = logits
    transforms = [
        {"key": "keep_salient", "keep": 2, "teacher_module_path": PATHS[0]},
        {"key": "keep_salient", "keep": 7, "teacher_module_path": PATHS[2]},
    ]
    loss = built("AEKDLoss", {"key": "TransformedLoss", "kwargs": {"transforms": transforms}})
    masked = [keep_salient(teachers[0], keep=2), teachers[1], keep_salient(teachers[2], keep=7)]
    torch.testing.assert_close(loss(*io_dicts(student, teachers)), aekd_loss(student, masked))


def test_standardization_reaches_the_student_and_every_teacher(logits):
    student, teachers = logits
    loss = built("AEKDLoss", {"key": "LogitStandardization", "kwargs": {}}, temperature=2.0)
    value = loss(*io_dicts(student, teachers))
    expected = aekd_loss(standardize(student), [standardize(v) for v in teachers], temperature=2.0)
    torch.testing.assert_close(value, expected)
    scaled = [9 * v + 3 for v in teachers]
    torch.testing.assert_close(loss(*io_dicts(5 * student, scaled)), value)


def test_features_at_one_map_or_behind_regressors():
    student, *teachers = torch.randn(4, 2, 3, 4, 4)
    student.requires_grad_()
    made = [(m + 1) * student for m in range(3)]
    student_io = {"layer3": {"output": student}, **{f"regressors.{m}": {"output": s} for m, s in enumerate(made)}}
    teacher_io = {path: {"output": t} for path, t in zip(PATHS, teachers, strict=True)}
    one = built("AEKDFeatureLoss", student_module_path="layer3")
    assert torch.equal(one(student_io, teacher_io), aekd_feature_loss(student, teachers))
    several = built("AEKDFeatureLoss", student_module_path=["layer3", *(f"regressors.{m}" for m in range(3))], keep=9)
    assert torch.equal(several(student_io, teacher_io), aekd_feature_loss([student, *made], teachers, keep=9))
    wrapped = get_loss_wrapper(one, {"key": "SalientFeatureMask", "kwargs": {"keep": 9}})
    torch.testing.assert_close(wrapped(student_io, teacher_io), aekd_feature_loss(student, teachers, keep=9))


@pytest.mark.parametrize(
    ("key", "kwargs", "message"),
    [
        ("AEKDLoss", {"teacher_module_path": None}, r"AEKDLoss learns from several teachers: set teacher_module_path"),
        ("AEKDLoss", {"teacher_module_path": "."}, r"teacher_module_path of AEKDLoss must be a list of module paths"),
        ("AEKDLoss", {"teacher_module_path": []}, r"must be a list of module paths, found \[\]"),
        ("AEKDLoss", {"student_module_path": ["a", "b"]}, r"student_module_path of AEKDLoss must be one module path"),
        ("AEKDLoss", {"cap": 3}, r"cap must be at most 1"),
        ("AverageEnsembleLoss", {"cap": 0.6}, r"AverageEnsembleLoss takes no keyword 'cap'"),
        ("AEKDFeatureLoss", {}, r"AEKDFeatureLoss compares features: give student_module_path"),
        (
            "AEKDFeatureLoss",
            {"student_module_path": ["a", "b", "c"]},
            r"must be one path, or a list of 4 paths: the regressors' input.*3 teachers; found \['a', 'b', 'c'\]",
        ),
    ],
)
def test_mistakes_in_a_config(key, kwargs, message):
    with pytest.raises(ValueError, match=message):
        built(key, **kwargs)


def test_mistakes_that_tensors_show(logits):
    student, teachers = logits
    student_io, teacher_io = io_dicts(student, teachers)
    del teacher_io["teachers.1"]
    with pytest.raises(ValueError, match=r"teacher's 'teachers.1' output was not captured.*forward_hook.output"):
        built("AEKDLoss")(student_io, teacher_io)
    with pytest.raises(ValueError, match="cap must be at least 1 / 3"):
        built("AEKDLoss", cap=0.2)(*io_dicts(student, teachers))
    features = built("AEKDFeatureLoss", student_module_path=".")
    with pytest.raises(ValueError, match=r"AEKDFeatureLoss of the student's '.' output .*teacher 1 of 3: student must"):
        features(*io_dicts(student, teachers))
