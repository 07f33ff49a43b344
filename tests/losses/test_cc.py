import pytest
import torch
from golden import Summary, assert_golden, wave
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_checks import assert_compiles, assert_full_precision_under_autocast, pair

from kd_plugins.losses import CorrelationLoss, correlation_loss


def test_hand_computed_value():
    # |e_s - e_t| is (1, 2), (3, 0), (1, 1): products of neighbours 1*3 + 2*0 and 3*1 + 0*1, their mean 3.
    student = torch.tensor([[1.0, 2.0], [3.0, 0.0], [0.0, 0.0]])
    teacher = torch.tensor([[0.0, 0.0], [0.0, 0.0], [1.0, -1.0]])
    assert correlation_loss(student, teacher) == 3


def test_golden():
    # HobbitLong/RepDistiller, commit b84f547, distiller_zoo/CC.py, Correlation.
    student = wave((64, 32), a=1.0, s=0.2, q=5, c=0.0).requires_grad_()
    teacher = wave((64, 32), a=1.2, s=0.8, q=77, c=0.0)
    gradient = Summary(
        l2=0.9897942295504415,
        wsum=-0.22075446759232467,
        first=(-0.01624123858433749, 0.0017228517640611465, 0.00031969641148458784, 0.005177569492113721),
    )
    assert_golden(correlation_loss(student, teacher), student, 13.518311187180638, gradient)


def test_slow_loop():
    student, teacher = pair(5, 4)
    rows = [
        sum(abs(student[i, d] - teacher[i, d]) * abs(student[i + 1, d] - teacher[i + 1, d]) for d in range(4))
        for i in range(4)
    ]
    torch.testing.assert_close(correlation_loss(student, teacher), sum(rows) / 4)


@settings(deadline=None, max_examples=20)
@given(st.floats(-5, 5), st.permutations(range(10)))
def test_knows_neither_a_common_shift_nor_the_order_of_entries(shift, order):
    student, teacher = pair()
    expected = correlation_loss(student, teacher)
    torch.testing.assert_close(correlation_loss(student[:, order] + shift, teacher[:, order] + shift), expected)
    torch.testing.assert_close(correlation_loss(student.flip(0), teacher.flip(0)), expected)


def test_gradcheck_of_both_sides():
    student, teacher = pair(4, 3)
    assert torch.autograd.gradcheck(correlation_loss, (student, teacher.requires_grad_()))


@pytest.mark.parametrize("features", [torch.zeros(4, 6), torch.ones(1, 6), 1e4 * torch.eye(4)])
def test_degenerate(features):
    student, teacher = (x.clone().requires_grad_() for x in (features, features.flip(1)))
    value = correlation_loss(student, teacher)
    value.backward()
    assert value.isfinite()
    assert all(x.grad.isfinite().all() for x in (student, teacher))


def test_autocast():
    assert_full_precision_under_autocast(correlation_loss)


def test_compiles():
    assert_compiles(correlation_loss)


def test_refuses():
    with pytest.raises(
        ValueError, match=r"embeddings of the same shape .* found \(2, 3\) and \(2, 4\); ProjectedStudent"
    ):
        correlation_loss(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(ValueError, match=r"student must be features of shape \(B, D\), found \(2, 3, 1\)"):
        correlation_loss(torch.zeros(2, 3, 1), torch.zeros(2, 3))


def test_module():
    assert CorrelationLoss()(*pair()) == correlation_loss(*pair())
