"""letKD's loss as a config names it, fed from a statistics file."""

import copy

import letkd_files
import pytest
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel
from torchdistill.losses.registry import get_mid_level_loss

import kd_plugins  # noqa: F401
from kd_plugins.host.letkd.student import letkd_student
from kd_plugins.losses import LetKDLoss, soft_assignment_loss, subclass_loss
from kd_plugins.statistics import load_statistics

GENERATOR = torch.Generator().manual_seed(0)
TEACHER = torch.randn(4, 64, 8, 8, generator=GENERATOR)
LABELS = torch.tensor([0, 4, 2, 1])


def io_dicts(count, *, size=8, path="penultimate"):
    scores = torch.randn(4, count, size, size, generator=GENERATOR).requires_grad_()
    return {f"kd_layer.{path}.scores": {"output": scores}}, {"layer3": {"output": TEACHER}}


def build(**kwargs):
    return get_mid_level_loss({"key": "LetKDLoss", "kwargs": {"teacher_module_path": "layer3", **kwargs}})


@pytest.fixture
def penultimate(tmp_path):
    return letkd_files.penultimate(tmp_path / "p.safetensors")


@pytest.fixture
def intermediate(tmp_path):
    return letkd_files.intermediate(tmp_path / "i.safetensors", intermediate__subclasses=2)


def test_the_penultimate_kind(penultimate):
    loss = build(kind="penultimate", statistics=penultimate, sharpness=0.1, num_centres=6)
    student, teacher = io_dicts(6)
    scores = student["kd_layer.penultimate.scores"]["output"]
    expected = soft_assignment_loss(scores, TEACHER, load_statistics(penultimate).penultimate.centres, sharpness=0.1)
    assert torch.equal(loss(student, teacher, LABELS), expected)
    assert torch.equal(loss(student, teacher), expected)


def test_the_intermediate_kind(intermediate):
    loss = build(kind="intermediate", statistics=intermediate, subclasses=2, components=3)
    student, teacher = io_dicts(10, path="intermediate")
    scores = student["kd_layer.intermediate.scores"]["output"]
    statistics = load_statistics(intermediate).intermediate
    expected = subclass_loss(scores, TEACHER, LABELS, statistics, subclasses=2)
    assert torch.equal(loss(student, teacher, LABELS), expected)


def test_a_smaller_map_of_the_student(tmp_path):
    path = letkd_files.penultimate(tmp_path / "p.safetensors", penultimate__map_size="4x4")
    loss = build(kind="penultimate", statistics=path, map_size=4)
    student, teacher = io_dicts(6, size=4)
    pooled = {"layer3": {"output": torch.nn.functional.avg_pool2d(TEACHER, 2)}}
    torch.testing.assert_close(loss(student, teacher), loss(student, pooled))


def test_a_larger_map_of_the_student_repeats_the_teachers(tmp_path):
    path = letkd_files.penultimate(tmp_path / "p.safetensors", penultimate__map_size="4x4")
    loss = build(kind="penultimate", statistics=path)
    student, _ = io_dicts(6)
    small = torch.nn.functional.avg_pool2d(TEACHER, 2)
    repeated = small.repeat_interleave(2, 2).repeat_interleave(2, 3)
    found = loss(student, {"layer3": {"output": small}})
    expected = soft_assignment_loss(
        student["kd_layer.penultimate.scores"]["output"], repeated, load_statistics(path).penultimate.centres
    )
    torch.testing.assert_close(found, expected)


def test_the_file_is_read_when_an_epoch_begins(tmp_path):
    loss = build(kind="penultimate", statistics=str(tmp_path / "later.safetensors"))
    assert "later.safetensors" in repr(loss)
    letkd_files.penultimate(tmp_path / "later.safetensors")
    loss.loss.set_epoch(0)
    (tmp_path / "later.safetensors").unlink()
    student, teacher = io_dicts(6)
    assert torch.equal(copy.deepcopy(loss)(student, teacher), loss(student, teacher))
    assert not loss.state_dict()
    assert loss.loss.ready().centres.shape == (6, 64)


def test_the_statistics_go_where_the_scores_are(penultimate):
    loss = LetKDLoss(load_statistics(penultimate).penultimate).to("meta")
    with pytest.raises(NotImplementedError, match="meta"):  # from there nothing can come back: it was moved
        loss(torch.zeros(2, 6), torch.zeros(2, 64))


GIVEN = {"kind": "penultimate"}


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"kind": "last"}, "kind must be one of 'penultimate', 'intermediate', found 'last'"),
        ({"statistics": None}, "statistics of LetKDLoss must be the path of a file, or auto, found None"),
        ({"num_centres": 0}, "num_centres must be a finite number of at least 1, found 0"),
        ({"sharpness": -1}, "sharpness must be a finite number above 0, found -1"),
        ({"map_size": [4]}, r"map_size must be a whole number or \[H, W\]"),
        ({"teacher_module_path": ["layer3"]}, r"must be one module path, found \['layer3'\]; add one term per layer"),
        ({"teacher_module_path": None}, "LetKDLoss compares features: give teacher_module_path"),
        ({"centres": 3}, "LetKDLoss takes no keyword 'centres'"),
    ],
)
def test_refuses_to_be_built(kwargs, message, penultimate):
    with pytest.raises(ValueError, match=message):
        build(**{**GIVEN, "statistics": penultimate, **kwargs})


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"statistics": "no.safetensors"}, "the statistics file no.safetensors does not exist; fit it with `kd-plug"),
        ({"statistics": "auto"}, "statistics: auto works only with kd-plugins train"),
        ({"kind": "intermediate"}, "holds no intermediate statistics; fit it again"),
        (
            {"num_centres": 4096},
            "num_centres of LetKDLoss is 4096, but the penultimate statistics in .* were fitted with 6",
        ),
        (
            {"map_size": 4},
            r"map_size of LetKDLoss is \[4, 4\], but .* were fitted with \[8, 8\]: .* or set map_size: \[8, 8\]",
        ),
        (
            {"teacher_module_path": "layer2"},
            "teacher_module_path of LetKDLoss is layer2, but the penultimate statistics .* with layer3",
        ),
    ],
)
def test_refuses_a_file(kwargs, message, tmp_path):
    told = {"penultimate__map_size": "8x8", "penultimate__layer": "layer3"}
    path = letkd_files.penultimate(tmp_path / "p.safetensors", **told)
    with pytest.raises(ValueError, match=message):
        build(**{**GIVEN, "statistics": path, **kwargs}).loss.set_epoch(0)


def test_refuses_another_size_of_the_scores(tmp_path):
    path = letkd_files.penultimate(tmp_path / "p.safetensors", penultimate__map_size="8x8")
    loss = build(**GIVEN, statistics=path)
    with pytest.raises(ValueError, match=r"score map is 4x4, but .* fitted for 8x8: set map_size: \[4, 4\]"):
        loss(*io_dicts(6, size=4))


def test_refuses_a_truncated_file(penultimate):
    with open(penultimate, "r+b") as file:
        file.truncate(100)
    with pytest.raises(ValueError, match="is truncated or not a statistics file"):
        build(**GIVEN, statistics=penultimate).loss.ready()


def test_refuses_labels_of_other_classes(intermediate):
    loss = build(kind="intermediate", statistics=intermediate)
    with pytest.raises(ValueError, match=r"must lie in 0..4, the classes of the logits, found 0..5"):
        loss(*io_dicts(10, path="intermediate"), torch.tensor([0, 5, 1, 1]))
    with pytest.raises(ValueError, match="LetKDLoss needs the labels"):
        loss(*io_dicts(10, path="intermediate"))


def test_in_data_parallel_training_every_parameter_is_used(tmp_path, penultimate):
    layers = [{"point": "penultimate", "num_scores": 6}]
    student = letkd_student(student={"key": "cifar_resnet8", "kwargs": {"num_classes": 5}}, layers=layers)
    loss = LetKDLoss(load_statistics(penultimate).penultimate)
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        parallel, scores = DistributedDataParallel(student), []
        student.kd_layer.penultimate.scores.register_forward_hook(lambda _m, _i, output: scores.append(output))
        for _ in range(3):  # the second forward fails where a parameter has got no gradient in the first step
            logits = parallel(torch.randn(4, 3, 32, 32))
            (logits.logsumexp(1).mean() + loss(scores.pop(), TEACHER)).backward()
    finally:
        distributed.destroy_process_group()
    assert all(parameter.grad is not None for parameter in student.parameters())
