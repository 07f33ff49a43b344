import copy
import gc
import pickle

import pytest
import torch
from torch import nn
from torchdistill.common.module_util import get_module

from kd_plugins.host.students.ctkd import CTKDStudent
from kd_plugins.host.teachers.channel import TeacherChannel
from kd_plugins.runtime.checkpoint import load_tensors_beside, tensors_beside


def network():
    return nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))


def instance(student=None, **kwargs):
    return CTKDStudent(student or network(), level="instance", num_classes=3, hidden=5, **kwargs)


def heard(student, teacher, batch):
    student.listen_to(teacher)
    with torch.no_grad():
        teacher(batch)
    temperatures = []
    handle = student.temperature.register_forward_hook(lambda _m, _i, output: temperatures.append(output))
    output = student(batch)
    handle.remove()
    return output, temperatures


@pytest.mark.parametrize("level", ["global", "instance"])
def test_the_output_is_the_students_and_the_temperature_runs_in_training_alone(level):
    inner, batch = network(), torch.randn(5, 6)
    student = CTKDStudent(inner) if level == "global" else instance(inner)
    output, (temperature,) = heard(student, network(), batch)
    assert torch.equal(output, copy.deepcopy(inner)(batch))
    assert temperature.shape == ((1,) if level == "global" else (5,))
    student.eval()
    output, temperatures = heard(student, network(), batch)
    assert torch.equal(output, inner(batch))
    assert temperatures == []


def test_both_sides_gradients_flow_and_no_other():
    inner, teacher, batch = network(), network(), torch.randn(5, 6)
    student = instance(inner)
    nn.init.normal_(student.temperature.outer.weight)
    _, (temperature,) = heard(student, teacher, batch)
    temperature.sum().backward()
    assert all(p.grad.abs().max() > 0 for p in student.temperature.parameters())
    assert all(p.grad is None for p in (*inner.parameters(), *teacher.parameters()))
    output, _ = heard(student, teacher, batch)
    output.sum().backward()
    assert inner[0].weight.grad is not None


def test_the_optimizer_sees_the_temperature_and_a_checkpoint_does_not():
    inner = network()
    student = instance(inner)
    assert len(list(student.parameters())) == len(list(inner.parameters())) + 4
    assert student.state_dict().keys() == inner.state_dict().keys()
    other = network()
    student.load_state_dict(other.state_dict(), strict=True)
    assert torch.equal(inner[0].weight, other[0].weight)
    beside = tensors_beside(student, inner)
    assert set(beside) == {f"temperature.{part}.{name}" for part in ("inner", "outer") for name in ("weight", "bias")}
    again = instance()
    load_tensors_beside(again, again.student_model, beside)
    assert torch.equal(again.temperature.inner.weight, student.temperature.inner.weight)


def test_paths_are_the_students_and_its_own():
    student = CTKDStudent(network())
    assert get_module(student, "2") is student.student_model[2]
    assert get_module(student, "student_model.2") is student.student_model[2]
    assert get_module(student, "temperature") is student.temperature
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = student.no_such_thing


def test_says_what_is_missing():
    student = instance()
    with pytest.raises(ValueError, match="has no logits of the teacher: set pre_epoch_process: kd_pre_epoch under"):
        student(torch.randn(2, 6))
    # what was heard serves one step
    heard(student, network(), torch.randn(2, 6))
    with pytest.raises(ValueError, match="has no logits of the teacher"):
        student(torch.randn(2, 6))
    student.listen_to(teacher := network())
    teacher(torch.randn(4, 6))
    with pytest.raises(ValueError, match=r"found \(2, 3\) and \(4, 3\)"):
        student(torch.randn(2, 6))


def test_refuses():
    with pytest.raises(ValueError, match="level must be one of 'global', 'instance', found 'class'"):
        CTKDStudent(network(), level="class")
    with pytest.raises(ValueError, match="with level='instance' needs num_classes, the number of logits"):
        CTKDStudent(network(), level="instance")
    with pytest.raises(ValueError, match="loops must be a finite number above 0, found 0"):
        CTKDStudent(network(), loops=0)

    class Two(nn.Module):
        def forward(self, x):
            return x, x

    with pytest.raises(ValueError, match=r"needs a student that returns logits \(B, C\), found tuple"):
        CTKDStudent(Two())(torch.zeros(1, 3))
    student = instance()
    student.listen_to(teacher := Two())
    teacher(torch.zeros(1, 6))
    with pytest.raises(ValueError, match=r"needs a teacher that returns logits \(B, C\), found tuple"):
        student(torch.randn(2, 6))


def test_the_channel_owns_its_hook():
    teacher, other = nn.Identity(), nn.Identity()
    channel = TeacherChannel()
    for _ in range(3):
        channel.connect(teacher)
    assert len(teacher._forward_hooks) == 1
    x = teacher(torch.ones(2))
    assert channel.take() is x
    assert channel.take() is None
    channel.connect(other)
    assert not teacher._forward_hooks
    other(torch.ones(2))
    del channel
    gc.collect()
    assert not other._forward_hooks


def test_the_channel_is_no_part_of_what_is_copied_or_saved():
    student = instance()
    teacher = network()
    student.listen_to(teacher)
    teacher(torch.randn(2, 6))
    assert "channel" not in dict(student.named_modules())
    for again in (copy.deepcopy(student), pickle.loads(pickle.dumps(student))):
        assert again.channel is not student.channel
        assert again.channel.take() is None
    assert len(teacher._forward_hooks) == 1
