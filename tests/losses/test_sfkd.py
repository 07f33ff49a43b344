import math

import pytest
import torch
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
from torch.nn import functional as F

from kd_plugins.losses import SFKDLoss, sfkd_loss, soft_target_loss
from kd_plugins.transforms import keep_salient

both_fills = pytest.mark.parametrize("fill", ["zero", "-inf"])


def keeping(keep, **kwargs):
    return lambda student, teacher: sfkd_loss(student, teacher, keep=keep, **kwargs)


def loop_reference(student, teacher, count, tau, fill):
    total = 0.0
    for z, v in zip(student.tolist(), teacher.tolist(), strict=True):
        kept = sorted(range(len(v)), key=lambda i: -v[i])[:count]
        p = [math.exp((x if i in kept else 0.0) / tau) if i in kept or fill == "zero" else 0.0 for i, x in enumerate(v)]
        q = [math.exp(x / tau) for x in z]
        p, q = ([x / sum(row) for x in row] for row in (p, q))
        total += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a)
    return tau**2 * total / len(student)


def test_hand_computed_value():
    # Uniform student over 3 classes; the teacher keeps ln 2 and ln 6 of (ln 2, 0.1, ln 6) at tau = 1.
    student = torch.zeros(1, 3, dtype=torch.float64)
    teacher = torch.tensor([[math.log(2), 0.1, math.log(6)]], dtype=torch.float64)
    # -inf: (1/4, 0, 3/4): ln 3 - H = ln 3 + 1/4 ln(1/4) + 3/4 ln(3/4)
    expected = math.log(3) + 0.25 * math.log(0.25) + 0.75 * math.log(0.75)
    assert sfkd_loss(student, teacher, keep=2, temperature=1.0, fill="-inf").item() == pytest.approx(expected)
    # zero: (2, 1, 6) / 9
    expected = math.log(3) + sum(w / 9 * math.log(w / 9) for w in (2, 1, 6))
    assert sfkd_loss(student, teacher, keep=2, temperature=1.0).item() == pytest.approx(expected)


@both_fills
def test_slow_loop(fill):
    student, teacher = pair()
    expected = loop_reference(student, teacher, 4, 3.0, fill)
    assert sfkd_loss(student, teacher, keep=4, temperature=3.0, fill=fill).item() == pytest.approx(expected)


@both_fills
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_keeping_all_is_the_soft_target_loss_bit_for_bit(fill, dtype):
    student, teacher = pair(dtype=dtype)
    ours = value_and_gradient(keeping(1.0, fill=fill), student, teacher)
    base = value_and_gradient(soft_target_loss, student, teacher)
    assert torch.equal(ours[0], base[0])
    assert torch.equal(ours[1], base[1])


def test_against_masked_classes_it_is_the_cross_entropy_with_the_renormalised_target():
    """Same gradient; the value differs by the target's entropy, which knows nothing of the student."""
    student, teacher = pair()
    target = torch.softmax(keep_salient(teacher, keep=3, fill="-inf") / 4, dim=1)
    assert (target == 0).sum() == 7 * 8
    entropy = -torch.special.xlogy(target, target).sum(1).mean()
    expected, slope = value_and_gradient(lambda z, _: 16 * F.cross_entropy(z / 4, target), student, teacher)
    value, gradient = value_and_gradient(keeping(3, fill="-inf"), student, teacher)
    torch.testing.assert_close(gradient, slope)
    torch.testing.assert_close(value, expected - 16 * entropy)


@settings(deadline=None, max_examples=30)
@given(st.permutations(range(10)), st.floats(-50, 50), st.sampled_from(["value", "magnitude"]))
def test_knows_neither_the_order_of_classes_nor_the_students_shift(order, shift, by):
    student, teacher = pair()
    expected = sfkd_loss(student, teacher, keep=0.5, by=by)
    torch.testing.assert_close(sfkd_loss(student[:, order] + shift, teacher[:, order], keep=0.5, by=by), expected)


@both_fills
def test_gradcheck(fill):
    student, teacher = pair(3, 5)
    assert torch.autograd.gradcheck(lambda z: sfkd_loss(z, teacher, keep=0.4, fill=fill), student)


@both_fills
@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate(name, fill):
    logits = DEGENERATE[name]
    assert_sane(keeping(0.5, fill=fill), logits, logits.flip(1), largest_gradient=4.0)


def test_a_nan_is_seen():
    student, teacher = pair()
    teacher[3, 4] = math.nan
    for fill in ("zero", "-inf"):
        assert sfkd_loss(student, teacher, keep=2, fill=fill).isnan()


@both_fills
def test_autocast(fill):
    assert_full_precision_under_autocast(keeping(0.3, fill=fill))


@both_fills
def test_compiles(fill):
    assert_compiles(keeping(0.3, fill=fill))


def test_refuses():
    with pytest.raises(ValueError, match=r"keep must be a fraction above 0 and at most 1.0, .* found 1.5"):
        sfkd_loss(*pair(), keep=1.5)
    with pytest.raises(ValueError, match=r"found \(2, 3\) and \(4, 3\)"):
        sfkd_loss(torch.zeros(2, 3), torch.zeros(4, 3), keep=0.5)
    with pytest.raises(ValueError, match="temperature must be a finite number above 0, found 0"):
        sfkd_loss(*pair(), keep=0.5, temperature=0)


def test_module():
    module = SFKDLoss(keep=3, temperature=2.0, by="magnitude", fill="-inf")
    assert repr(module) == "SFKDLoss(keep=3, temperature=2.0, by='magnitude', fill='-inf')"
    assert not module.state_dict()
    expected = sfkd_loss(*pair(), keep=3, temperature=2.0, by="magnitude", fill="-inf")
    torch.testing.assert_close(module(*pair()), expected)
    for wrong, message in (
        ({"keep": 0}, "found 0"),
        ({"keep": 0.5, "fill": "nan"}, "fill must be one of 'zero', '-inf'"),
        ({"keep": 0.5, "by": "x"}, "by must be one of 'value', 'magnitude'"),
    ):
        with pytest.raises(ValueError, match=message):
            SFKDLoss(**wrong)
