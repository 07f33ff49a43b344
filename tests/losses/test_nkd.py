import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from kd_plugins.losses import NKDLoss, nkd_loss


def by_hand(student, teacher, label, *, gamma, temperature):
    """Return the loss of one sample as the equation stands, class by class."""
    p, q = (F.softmax(x, 0) for x in (teacher, student))
    others = [k for k in range(len(student)) if k != label]
    p_hat, q_hat = (F.softmax(x[others] / temperature, 0) for x in (teacher, student))
    return -(p[label] * q[label].log() + gamma * temperature**2 * (p_hat * q_hat.log()).sum())


def test_hand_computed_value():
    student, teacher = torch.zeros(1, 3), torch.tensor([[2.0, 0.0, 1.0]])
    # p_y = e^2 / (e^2 + 1 + e), q_y = 1/3; of the others q is 1/2 each, whatever the teacher's are.
    expected = math.exp(2) / (math.exp(2) + 1 + math.e) * math.log(3) + 1.5 * math.log(2)
    assert nkd_loss(student, teacher, torch.tensor([0])).item() == pytest.approx(expected, rel=1e-6)


@settings(deadline=None)
@given(seed=st.integers(0, 10**6), gamma=st.floats(0, 5), temperature=st.floats(0.5, 8))
def test_equals_the_equation(seed, gamma, temperature):
    generator = torch.Generator().manual_seed(seed)
    student, teacher = (3 * torch.randn(4, 5, dtype=torch.float64, generator=generator) for _ in range(2))
    labels = torch.tensor([0, 4, 2, 2])
    rows = [by_hand(*row, gamma=gamma, temperature=temperature) for row in zip(student, teacher, labels, strict=True)]
    found = nkd_loss(student, teacher, labels, gamma=gamma, temperature=temperature)
    torch.testing.assert_close(found, torch.stack(rows).mean())


def test_gradient():
    student, teacher = torch.randn(3, 5, dtype=torch.float64, requires_grad=True), torch.randn(3, 5).double()
    labels = torch.tensor([4, 0, 1])
    assert torch.autograd.gradcheck(lambda z: nkd_loss(z, teacher, labels, temperature=2.0), student)
    assert torch.autograd.gradgradcheck(lambda z: nkd_loss(z, teacher, labels, temperature=2.0), student)


def test_large_logits_are_finite():
    student = torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    loss = nkd_loss(student, -student.detach(), torch.tensor([1]))
    loss.backward()
    assert loss.isfinite()
    assert student.grad.isfinite().all()


@pytest.mark.parametrize(("kwargs", "message"), [({"gamma": -1}, "gamma"), ({"temperature": 0}, "temperature")])
def test_values_out_of_range_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        NKDLoss(**kwargs)


def test_soft_labels_are_refused():
    with pytest.raises(ValueError, match="NKD"):
        nkd_loss(torch.zeros(2, 3), torch.zeros(2, 3), torch.ones(2, 3) / 3)
