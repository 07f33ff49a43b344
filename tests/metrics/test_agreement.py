import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kd_plugins.metrics import agreement, extracurricular_knowledge


def one_hot(classes):
    return torch.eye(4)[torch.tensor(classes)]


def test_known_values():
    labels = torch.tensor([0, 1, 2, 3, 0])
    teacher, student = one_hot([0, 2, 3, 1, 1]), one_hot([0, 1, 3, 3, 2])
    # The teacher is wrong in the last four; of these the student is right in the second and the fourth.
    assert extracurricular_knowledge(student, teacher, labels).item() == 0.5
    # They answer the same in the first and the third of five.
    assert agreement(student, teacher).item() == pytest.approx(0.4)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 40))
def test_a_slow_loop_gives_the_same(seed, n):
    generator = torch.Generator().manual_seed(seed)
    student, teacher = torch.randn(2, n, 4, generator=generator)
    labels = torch.randint(4, (n,), generator=generator)
    wrong = right = same = 0
    for s, t, y in zip(student.argmax(1).tolist(), teacher.argmax(1).tolist(), labels.tolist(), strict=True):
        same += s == t
        wrong += t != y
        right += t != y and s == y
    assert agreement(student, teacher).item() == pytest.approx(same / n)
    found = extracurricular_knowledge(student, teacher, labels).item()
    assert found == pytest.approx(right / wrong) if wrong else found != found


def test_limits():
    labels = torch.tensor([1, 2, 3])
    teacher = one_hot([0, 0, 0])
    assert extracurricular_knowledge(one_hot([1, 2, 3]), teacher, labels) == 1
    assert extracurricular_knowledge(teacher, teacher, labels) == 0
    assert agreement(teacher, teacher) == 1
    assert extracurricular_knowledge(teacher, one_hot([1, 2, 3]), labels).isnan()


def test_refuses():
    with pytest.raises(ValueError, match=r"logits of the same shape \(B, C\), found \(2, 4\) and \(3, 4\)"):
        agreement(torch.zeros(2, 4), torch.zeros(3, 4))
    with pytest.raises(ValueError, match=r"targets of extracurricular_knowledge must lie in 0\.\.3"):
        extracurricular_knowledge(torch.zeros(2, 4), torch.zeros(2, 4), torch.tensor([1, 4]))
