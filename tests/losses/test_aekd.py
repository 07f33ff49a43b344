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

from kd_plugins.losses import AEKDLoss, AverageEnsembleLoss, aekd_loss, average_ensemble_loss, soft_target_loss
from kd_plugins.losses._min_norm import min_norm_weights
from kd_plugins.transforms import keep_salient

both_losses = pytest.mark.parametrize("loss", [aekd_loss, average_ensemble_loss])


def ensemble(count, *, seed=0):
    """Student and several teachers of unequal confidence."""
    student, _ = pair(seed=seed)
    return student, [pair(seed=seed + 1 + m)[1] * (1 + m) for m in range(count)]


def against_three(loss, **kwargs):
    """As a loss of one student and one teacher, from which two others are made."""
    return lambda student, teacher: loss(student, [teacher, teacher.flip(1), 0.5 * teacher.roll(1, 1)], **kwargs)


def weights_by_autograd(student, teachers, *, tau, cap):
    """The weights from gradients that autograd finds, not from the closed form."""
    rows = [value_and_gradient(lambda z, v: soft_target_loss(z, v, temperature=tau), student, v)[1] for v in teachers]
    rows = torch.stack(rows).flatten(1)
    return min_norm_weights(rows @ rows.T, cap=cap)


def test_hand_computed_values():
    # tau = 1, student (1/2, 1/2), teachers (3/4, 1/4) and (1/10, 9/10):
    # gradients -1/4 (1, -1) and 4/10 (1, -1): weights 8/13 and 5/13, which the cap of 0.6 cuts to 0.6 and 0.4
    student = torch.zeros(1, 2, dtype=torch.float64)
    teachers = [torch.tensor([[math.log(a), math.log(b)]], dtype=torch.float64) for a, b in [(3, 1), (1, 9)]]
    first = math.log(2) + 0.75 * math.log(0.75) + 0.25 * math.log(0.25)
    second = math.log(2) + 0.1 * math.log(0.1) + 0.9 * math.log(0.9)
    free = aekd_loss(student, teachers, temperature=1.0, cap=1.0)
    assert free.item() == pytest.approx((8 * first + 5 * second) / 13, rel=1e-5)
    assert aekd_loss(student, teachers, temperature=1.0).item() == pytest.approx(0.6 * first + 0.4 * second)
    # Their mean is (17/40, 23/40).
    mean = math.log(2) + 17 / 40 * math.log(17 / 40) + 23 / 40 * math.log(23 / 40)
    assert average_ensemble_loss(student, teachers, temperature=1.0).item() == pytest.approx(mean)


@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("cap", [0.6, 1.0])
def test_is_the_sum_of_kd_losses_by_the_weights_of_their_gradients(count, cap):
    student, teachers = ensemble(count)
    weights = weights_by_autograd(student, teachers, tau=3.0, cap=cap)
    expected = sum(w * soft_target_loss(student, v, temperature=3.0) for w, v in zip(weights, teachers, strict=True))
    value = aekd_loss(student, teachers, temperature=3.0, cap=cap)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(torch.autograd.grad(value, student), torch.autograd.grad(expected, student))


def test_the_gradient_is_no_longer_than_any_teachers():
    student, teachers = ensemble(3)
    (ours,) = torch.autograd.grad(aekd_loss(student, teachers, cap=1.0), student)
    for v in teachers:
        assert ours.norm() <= torch.autograd.grad(soft_target_loss(student, v), student)[0].norm() * (1 + 1e-5)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_at_the_smallest_cap_it_is_the_mean_of_the_kd_losses(count):
    student, teachers = ensemble(count)
    value, gradient = value_and_gradient(lambda z, v: aekd_loss(z, v, cap=1 / count), student, teachers)
    torch.testing.assert_close(value, sum(soft_target_loss(student, v) for v in teachers).detach() / count)
    _, baseline = value_and_gradient(average_ensemble_loss, student, teachers)
    torch.testing.assert_close(gradient, baseline)


def test_with_one_teacher_both_are_kd():
    student, (teacher,) = ensemble(1)
    expected = value_and_gradient(soft_target_loss, student, teacher)
    torch.testing.assert_close(value_and_gradient(lambda z, v: aekd_loss(z, [v], cap=1.0), student, teacher), expected)
    torch.testing.assert_close(
        value_and_gradient(lambda z, v: average_ensemble_loss(z, [v]), student, teacher), expected
    )


def test_the_average_by_a_slow_loop():
    student, teachers = ensemble(3)
    total = 0.0
    for i, z in enumerate(student.tolist()):
        q = [math.exp(x / 4) for x in z]
        probabilities = [[math.exp(x / 4) for x in v[i].tolist()] for v in teachers]
        p = [sum(row[k] / sum(row) for row in probabilities) / 3 for k in range(len(z))]
        total += sum(a * math.log(a * sum(q) / b) for a, b in zip(p, q, strict=True))
    assert average_ensemble_loss(student, teachers).item() == pytest.approx(16 * total / len(student))


def test_the_average_keeps_probabilities_that_would_round_to_zero():
    student = torch.zeros(1, 2)
    far = torch.tensor([[0.0, 4000.0]])
    assert average_ensemble_loss(student, [far, far], temperature=4.0).item() == pytest.approx(16 * math.log(2))


@both_losses
@settings(deadline=None, max_examples=25)
@given(st.permutations(range(3)), st.permutations(range(10)), st.floats(-30, 30))
def test_knows_neither_the_order_of_teachers_and_classes_nor_shifts(loss, teachers_order, order, shift):
    student, teachers = ensemble(3)
    moved = [teachers[m][:, order] + m * shift for m in teachers_order]
    torch.testing.assert_close(loss(student[:, order] + shift, moved), loss(student, teachers))


@both_losses
@pytest.mark.parametrize("fill", ["zero", "-inf"])
def test_each_teacher_is_masked_first(loss, fill):
    student, teachers = ensemble(3)
    by_hand = loss(student, [keep_salient(v, keep=0.3, fill=fill) for v in teachers])
    torch.testing.assert_close(loss(student, teachers, keep=0.3, fill=fill), by_hand)
    assert (loss(student, teachers) - by_hand).abs() > 1e-3
    assert torch.equal(loss(student, teachers, keep=1.0, fill=fill), loss(student, teachers))


def test_gradcheck():
    student, teachers = ensemble(3)
    student, teachers = student[:3, :5], [v[:3, :5] for v in teachers]
    # Only fixed weights: by definition no gradient passes through the others.
    assert torch.autograd.gradcheck(lambda z: aekd_loss(z, teachers, cap=1 / 3, keep=0.5), student)
    assert torch.autograd.gradcheck(lambda z: average_ensemble_loss(z, teachers, keep=0.5), student)


@both_losses
@pytest.mark.parametrize("fill", ["zero", "-inf"])
@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate(name, fill, loss):
    logits = DEGENERATE[name]
    assert_sane(against_three(loss, keep=0.5, fill=fill), logits, logits.flip(1), largest_gradient=4.0)


@both_losses
def test_teachers_that_are_the_student_leave_nothing_to_learn(loss):
    student, _ = pair()
    value, gradient = value_and_gradient(lambda z, v: loss(z, [v, v, v]), student, student)
    torch.testing.assert_close(value, torch.zeros_like(value))
    torch.testing.assert_close(gradient, torch.zeros_like(gradient))


@both_losses
def test_a_nan_is_seen(loss):
    student, teachers = ensemble(3)
    teachers[1][3, 4] = math.nan
    assert loss(student, teachers).isnan()


@both_losses
def test_autocast(loss):
    assert_full_precision_under_autocast(against_three(loss, keep=0.3))


@both_losses
def test_compiles(loss):
    assert_compiles(against_three(loss, keep=0.3, fill="-inf"))


@both_losses
def test_refuses(loss):
    student, teachers = ensemble(2)
    with pytest.raises(ValueError, match=r"teachers must be a list with a tensor of each teacher.*found an empty list"):
        loss(student, [])
    with pytest.raises(ValueError, match="found Tensor"):
        loss(student, teachers[0])
    with pytest.raises(ValueError, match=r"teacher 2 of 2: .*found \(8, 10\) and \(8, 9\)"):
        loss(student, [teachers[0], teachers[1][:, 1:]])
    with pytest.raises(ValueError, match="temperature must be a finite number above 0, found 0"):
        loss(student, teachers, temperature=0)
    with pytest.raises(ValueError, match=r"cap must be at least 1 / 2 = 0.5, .*found 0.4"):
        aekd_loss(student, teachers, cap=0.4)


def test_modules():
    student, teachers = ensemble(2)
    module = AEKDLoss(temperature=2.0, cap=0.7, keep=3, by="magnitude", fill="-inf")
    assert repr(module) == "AEKDLoss(temperature=2.0, cap=0.7, keep=3, by='magnitude', fill='-inf')"
    expected = aekd_loss(student, teachers, temperature=2.0, cap=0.7, keep=3, by="magnitude", fill="-inf")
    assert torch.equal(module(student, teachers), expected)
    module = AverageEnsembleLoss(temperature=2.0, keep=0.5)
    assert repr(module) == "AverageEnsembleLoss(temperature=2.0, keep=0.5, by='value', fill='zero')"
    assert torch.equal(module(student, teachers), average_ensemble_loss(student, teachers, temperature=2.0, keep=0.5))
    for wrong, message in (
        ({"cap": 1.2}, "cap must be at most 1, .*found 1.2"),
        ({"keep": 0}, "found 0"),
        ({"keep": 2, "fill": "nan"}, "fill must be one of 'zero', '-inf'"),
        ({"temperature": -1.0}, "temperature must be"),
    ):
        with pytest.raises(ValueError, match=message):
            AEKDLoss(**wrong)
    with pytest.raises(ValueError, match="by must be one of"):
        AverageEnsembleLoss(keep=0.5, by="x")
