import math

import pytest
import torch
from golden import Summary, assert_golden, golden_student, golden_teacher
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_checks import (
    DEGENERATE,
    assert_compiles,
    assert_full_precision_under_autocast,
    assert_sane,
    pair,
    value_and_gradient,
)
from torch import nn

from kd_plugins.losses import SoftTargetLoss, soft_target_loss


def loop_reference(student, teacher, tau):
    total = 0.0
    for z, v in zip(student.tolist(), teacher.tolist(), strict=True):
        q, p = ([math.exp(x / tau) for x in row] for row in (z, v))
        q, p = ([x / sum(row) for x in row] for row in (q, p))
        total += sum(pk * math.log(pk / qk) for pk, qk in zip(p, q, strict=True))
    return tau**2 * total / len(student)


def test_hand_computed_value():
    # softmax([0, ln 3]) = [1/4, 3/4] against [1/2, 1/2]:
    # 1/4 ln(1/4 : 1/2) + 3/4 ln(3/4 : 1/2) = 3/4 ln 3 - ln 2; tau^2 = 4 takes logits twice as large.
    student = torch.zeros(1, 2, dtype=torch.float64)
    teacher = torch.tensor([[0.0, 2 * math.log(3)]], dtype=torch.float64)
    loss = soft_target_loss(student, teacher, temperature=2.0)
    assert loss.item() == pytest.approx(4 * (0.75 * math.log(3) - math.log(2)))


def test_golden():
    # megvii-research/mdistiller, commit a08d46f, mdistiller/distillers/KD.py, kd_loss at T=4.
    student = golden_student()
    loss = soft_target_loss(student, golden_teacher(), temperature=4.0)
    gradient = Summary(
        l2=0.21881937698636927,
        wsum=-0.07460999901833129,
        first=(
            -0.002141901245702661,
            0.021711173942422814,
            0.0014201401905394387,
            0.03091131039444399,
            -0.031352974485556004,
            -0.03694937009378932,
            0.019057238416439228,
            -0.0043789978645223035,
        ),
    )
    assert_golden(loss, student, 1.817925010513612, gradient)


def test_golden_at_another_temperature():
    # sunshangquan/logit-standardization-KD, commit f6e5aa5, mdistiller/distillers/KD.py,
    # kd_loss(logit_stand=False) at T=2.
    student = golden_student()
    loss = soft_target_loss(student, golden_teacher(), temperature=2.0)
    gradient = Summary(
        l2=0.22573334969836012,
        wsum=-0.10614707537065968,
        first=(
            4.394494761444934e-05,
            0.026796143184935783,
            0.0023157753609768343,
            0.018587399879022293,
            -0.02458456758392576,
            -0.04270130815422936,
            0.023180192442254954,
            -0.002340601168747229,
        ),
    )
    assert_golden(loss, student, 1.6471004977940673, gradient)


def test_slow_loop():
    student, teacher = pair()
    expected = loop_reference(student, teacher, 3.0)
    assert soft_target_loss(student, teacher, temperature=3.0).item() == pytest.approx(expected)


def test_is_exactly_zero_at_the_teacher():
    _, teacher = pair(dtype=torch.float32)
    value, gradient = value_and_gradient(soft_target_loss, teacher, teacher)
    assert value == 0
    assert not value.signbit()
    assert gradient.abs().max() < 1e-7


@settings(deadline=None, max_examples=30)
@given(st.permutations(range(10)), st.floats(-50, 50))
def test_knows_neither_the_order_of_classes_nor_a_shift(order, shift):
    student, teacher = pair()
    expected = soft_target_loss(student, teacher)
    torch.testing.assert_close(soft_target_loss(student[:, order], teacher[:, order]), expected)
    torch.testing.assert_close(soft_target_loss(student + shift, teacher - shift), expected)


def test_gradcheck():
    student, teacher = pair(3, 4)
    assert torch.autograd.gradcheck(lambda z: soft_target_loss(z, teacher), student)


@pytest.mark.parametrize("shape", [(), (1,), (3,), (3, 1)])
def test_gradcheck_of_a_learned_temperature(shape):
    student, teacher = pair(3, 4)
    tau = torch.linspace(1.5, 3.0, max(1, math.prod(shape)), dtype=torch.float64).reshape(shape)
    tau.requires_grad_()
    assert torch.autograd.gradcheck(lambda z, t: soft_target_loss(z, teacher, temperature=t), (student, tau))


def test_a_temperature_per_sample_is_each_samples_own():
    student, teacher = pair(3, 4)
    temperatures = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)
    alone = [
        soft_target_loss(student[i : i + 1], teacher[i : i + 1], temperature=temperatures[i].item()) for i in range(3)
    ]
    loss = soft_target_loss(student, teacher, temperature=temperatures)
    torch.testing.assert_close(loss, torch.stack(alone).mean())


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate(name):
    logits = DEGENERATE[name]
    # tau^2 * (p - q) / tau / B is at most tau.
    assert_sane(soft_target_loss, logits, logits.flip(1), largest_gradient=4.0)


def test_autocast():
    assert_full_precision_under_autocast(soft_target_loss)


def test_compiles():
    assert_compiles(soft_target_loss)


def test_can_be_differentiated_twice():
    student, teacher = pair(2, 3)
    assert torch.autograd.gradgradcheck(lambda z: soft_target_loss(z, teacher), student)


def test_teacher_in_another_precision():
    student, teacher = pair(dtype=torch.float32)
    loss = soft_target_loss(student, teacher.double())
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, soft_target_loss(student, teacher))


@pytest.mark.parametrize(
    ("student", "teacher", "message"),
    [
        (torch.zeros(2, 3), torch.zeros(2, 4), r"same shape \(B, C\), found \(2, 3\) and \(2, 4\)"),
        (torch.zeros(2, 1), torch.zeros(2, 1), r"student must have shape .* C >= 2, found \(2, 1\)"),
        (torch.zeros(2, 3).long(), torch.zeros(2, 3), "student must hold floating-point logits"),
        ((torch.zeros(2, 3), None), torch.zeros(2, 3), "student must be a tensor .* found tuple"),
    ],
)
def test_refuses_other_shapes(student, teacher, message):
    with pytest.raises(ValueError, match=message):
        soft_target_loss(student, teacher)


def test_refuses_other_temperatures():
    with pytest.raises(ValueError, match="temperature must be a finite number above 0, found 0"):
        soft_target_loss(*pair(), temperature=0)
    with pytest.raises(ValueError, match=r"1 value or one per sample \(8\), found shape \(3,\)"):
        soft_target_loss(*pair(), temperature=torch.ones(3))


def test_module():
    module = SoftTargetLoss(temperature=3.0)
    assert repr(module) == "SoftTargetLoss(temperature=3.0)"
    assert isinstance(module, nn.Module)
    assert not module.state_dict()
    torch.testing.assert_close(module(*pair()), soft_target_loss(*pair(), temperature=3.0))
    with pytest.raises(ValueError, match="temperature must be a finite number above 0, found -1"):
        SoftTargetLoss(temperature=-1)
