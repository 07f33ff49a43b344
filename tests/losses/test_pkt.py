import math

import pytest
import torch
from golden import Summary, assert_golden, wave
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_checks import assert_compiles, assert_full_precision_under_autocast, assert_sane, pair, value_and_gradient
from torchdistill.losses.mid_level import PKTLoss

from kd_plugins.losses import ProbabilisticLoss, probabilistic_loss


def stock(student, teacher):
    loss = PKTLoss("f", "output", "f", "output")
    return loss({"f": {"output": student}}, {"f": {"output": teacher}})


def loop_reference(student, teacher, eps):
    sides = []
    for x in (student.tolist(), teacher.tolist()):
        rows = []
        for a in x:
            row = [1 + sum(p * q for p, q in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b)) for b in x]
            rows += [value / sum(row) for value in row]
        sides.append(rows)
    return sum(t * math.log((t + eps) / (s + eps)) for s, t in zip(*sides, strict=True)) / len(sides[0])


def test_hand_computed_value():
    # Opposite vectors: 1 + cos is 2 and 0, so p = (1, 0); equal ones: (1/2, 1/2). Two of four entries are 1 * ln 2.
    student = torch.tensor([[1.0], [2.0]], dtype=torch.float64)
    teacher = torch.tensor([[1.0], [-3.0]], dtype=torch.float64)
    assert probabilistic_loss(student, teacher, eps=1e-12).item() == pytest.approx(math.log(2) / 2)


def test_golden():
    # megvii-research/mdistiller, commit a08d46f, mdistiller/distillers/PKT.py, pkt_loss.
    student = wave((8, 16), a=1.0, s=0.2, q=5, c=0.0).requires_grad_()
    teacher = wave((8, 32), a=1.2, s=0.8, q=77, c=0.0)
    gradient = Summary(
        l2=0.010316873594775799,
        wsum=0.0005947266923024305,
        first=(-0.00019786250127488514, 0.0003231667840596917, -0.00013249824231957065, -0.0011798658764690922),
    )
    assert_golden(probabilistic_loss(student, teacher), student, 0.02847616120554263, gradient, rel=1e-5)
    assert_golden(stock(student, teacher), student, 0.02847616120554263, gradient)


def test_slow_loop():
    student, teacher = pair(5, 4)
    expected = loop_reference(student, teacher, 1e-7)
    assert probabilistic_loss(student, teacher).item() == pytest.approx(expected)


@settings(deadline=None, max_examples=20)
@given(st.permutations(range(8)), st.floats(0.1, 10))
def test_knows_neither_order_nor_length(order, scale):
    student, teacher = pair()
    expected = probabilistic_loss(student, teacher)
    torch.testing.assert_close(probabilistic_loss(student[order], scale * teacher[order]), expected)


def test_gradcheck():
    student, teacher = pair(4, 3)
    assert torch.autograd.gradcheck(lambda z: probabilistic_loss(z, teacher), student)


@pytest.mark.parametrize(
    "features",
    [
        torch.zeros(4, 6),
        torch.ones(1, 6),
        torch.tensor([[0.0, 0.0], [1.0, 2.0], [1.0, 2.0]]),
        1e4 * torch.eye(4),
        torch.arange(24.0).reshape(4, 6).bfloat16(),
    ],
    ids=["zeros", "one sample", "one zero", "huge", "bfloat16"],
)
def test_degenerate(features):
    assert_sane(probabilistic_loss, features, features.flip(0) + torch.randn(features.shape), largest_gradient=1e4)


def test_a_dead_sample_where_the_stock_loss_is_nan():
    student, teacher = (x.detach() for x in pair(dtype=torch.float32))
    student[2] = 0
    assert value_and_gradient(stock, student, teacher)[1].isnan().any()
    value, gradient = value_and_gradient(probabilistic_loss, student, teacher)
    assert value == pytest.approx(stock(student, teacher).item(), rel=1e-4)
    assert gradient.isfinite().all()


def test_autocast():
    assert_full_precision_under_autocast(probabilistic_loss)


def test_compiles():
    assert_compiles(probabilistic_loss)


def test_refuses():
    with pytest.raises(ValueError, match="must hold features of the same samples, found 2 and 3"):
        probabilistic_loss(torch.zeros(2, 3), torch.zeros(3, 3))
    with pytest.raises(ValueError, match="eps must be a finite number above 0, found 0"):
        ProbabilisticLoss(eps=0)


def test_module():
    module = ProbabilisticLoss(eps=1e-5)
    assert repr(module) == "ProbabilisticLoss(eps=1e-05)"
    assert module(*pair()) == probabilistic_loss(*pair(), eps=1e-5)
