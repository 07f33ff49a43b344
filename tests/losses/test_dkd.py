import math

import pytest
import torch
from golden import Summary, assert_golden, golden_student, golden_teacher, wave
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

from kd_plugins.losses import DKDLoss, dkd_loss, soft_target_loss
from kd_plugins.transforms import standardize

GOLDEN_TARGETS = (7 * torch.arange(8) + 3) % 10


def labelled(**hyperparameters):
    """The loss of a pair alone, with the labels 0, 1, 2, ... of as many samples as there are."""

    def loss(student, teacher):
        return dkd_loss(student, teacher, torch.arange(len(student)) % student.shape[1], **hyperparameters)

    return loss


def loop_reference(student, teacher, targets, alpha, beta, tau):
    def kl(p, q):
        return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))

    total = 0.0
    for z, v, y in zip(student.tolist(), teacher.tolist(), targets.tolist(), strict=True):
        q, p = ([math.exp(x / tau) for x in row] for row in (z, v))
        others = [[x for i, x in enumerate(row) if i != y] for row in (p, q)]
        target = [[row[y] / sum(row), 1 - row[y] / sum(row)] for row in (p, q)]
        total += alpha * kl(*target) + beta * kl(*([x / sum(row) for x in row] for row in others))
    return tau**2 * total / len(student)


def test_hand_computed_value():
    # Student [1/4, 1/2, 1/4], teacher [1/2, 1/3, 1/6], target the first.
    # Target part: KL((1/2, 1/2) || (1/4, 3/4)) = 1/2 ln 2 + 1/2 ln(2/3) = 1/2 ln(4/3).
    # Others: (2/3, 1/3) on both sides: 0 for the value of beta.
    student = torch.tensor([[1.0, 2.0, 1.0]], dtype=torch.float64).log()
    teacher = torch.tensor([[3.0, 2.0, 1.0]], dtype=torch.float64).log()
    loss = dkd_loss(student, teacher, torch.tensor([0]), alpha=1.0, beta=8.0, temperature=1.0)
    assert loss.item() == pytest.approx(0.5 * math.log(4 / 3))
    # Target the last: 1/4 against 1/6, others (3/5, 2/5) against (1/3, 2/3).
    loss = dkd_loss(student, teacher, torch.tensor([2]), alpha=2.0, beta=3.0, temperature=1.0)
    target = 1 / 6 * math.log(2 / 3) + 5 / 6 * math.log(10 / 9)
    others = 3 / 5 * math.log(9 / 5) + 2 / 5 * math.log(3 / 5)
    assert loss.item() == pytest.approx(2 * target + 3 * others)


def test_golden():
    # megvii-research/mdistiller, commit a08d46f, mdistiller/distillers/DKD.py, dkd_loss at alpha=1, beta=8, T=4.
    student = golden_student()
    gradient = Summary(
        l2=1.8076131178027788,
        wsum=-0.36768902309809137,
        first=(
            0.012442391726365212,
            0.21565495014853553,
            0.03363846445937052,
            0.030911310394443982,
            -0.24424976826548844,
            -0.2806450929264729,
            0.19230555000530017,
            -0.013133786764342185,
        ),
    )
    assert_golden(dkd_loss(student, golden_teacher(), GOLDEN_TARGETS), student, 13.887409500425967, gradient)
    for weights, expected in (((1.0, 0.0), 0.24134497754904854), ((0.0, 1.0), 1.705758065359615)):
        alpha, beta = weights
        part = dkd_loss(student, golden_teacher(), GOLDEN_TARGETS, alpha=alpha, beta=beta)
        assert part.item() == pytest.approx(expected, rel=1e-9)


def test_golden_of_standardized_logits():
    # sunshangquan/logit-standardization-KD, commit f6e5aa5, mdistiller/distillers/DKD.py, dkd_loss(logit_stand=True)
    # at T=2, alpha and beta multiplied by the KD weight 9.
    student = golden_student()
    z, v = (standardize(x, correction=1) for x in (student, golden_teacher()))
    loss = dkd_loss(z, v, GOLDEN_TARGETS, alpha=9.0, beta=72.0, temperature=2.0)
    gradient = Summary(
        l2=5.908429218109463,
        wsum=-3.087356763149188,
        first=(-0.38497018278036665, 0.43392044617555914, 0.171026587942923, 0.1750947887741667),
    )
    assert_golden(loss, student, 38.74491513614834, gradient)


def test_golden_of_the_warm_up():
    # megvii-research/mdistiller, commit a08d46f, mdistiller/distillers/DKD.py, DKD.forward_train at epoch 5 of its
    # count from 1, cross-entropy and loss at weight 1.
    student = wave((64, 100), a=1.5, s=0.3, q=17, c=0.1).requires_grad_()
    teacher = wave((64, 100), a=2.5, s=1.1, q=401, c=-0.2)
    targets = (7 * torch.arange(64) + 3) % 100
    module = DKDLoss(alpha=1.0, beta=8.0, temperature=4.0, warmup=20)
    module.set_epoch(4)
    distilled = module(student, teacher, targets)
    assert distilled.item() == pytest.approx(4.3231909886728275, rel=1e-9)
    gradient = Summary(
        l2=0.1394882489671486,
        wsum=0.0016098377425729001,
        first=(7.864162321744538e-06, 0.0007569725869963838, 9.891658421448023e-06, -0.015479826526171137),
    )
    assert_golden(F.cross_entropy(student, targets) + distilled, student, 9.641159373571298, gradient)


def test_the_weight_grows_to_one_over_the_warm_up():
    module = DKDLoss(warmup=4)
    assert module.factor == 1.0  # until somebody tells the epoch
    factors = []
    for epoch in range(6):
        module.set_epoch(epoch)
        factors.append(module.factor)
    assert factors == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    module = DKDLoss(warmup=0)
    module.set_epoch(0)
    assert module.factor == 1.0


def test_slow_loop():
    student, teacher = pair()
    targets = torch.arange(8)
    expected = loop_reference(student, teacher, targets, 0.7, 3.0, 2.5)
    loss = dkd_loss(student, teacher, targets, alpha=0.7, beta=3.0, temperature=2.5)
    assert loss.item() == pytest.approx(expected, rel=1e-9)


def test_weighted_by_the_teachers_doubt_it_is_the_soft_target_loss():
    # Their Eq. (6): KL of all classes = target part + (1 - p_y) * KL among the others, here for one sample.
    student, teacher = pair(1, 6)
    target = torch.tensor([2])
    doubt = 1 - torch.softmax(teacher / 4, dim=1)[0, 2].item()
    loss = dkd_loss(student, teacher, target, alpha=1.0, beta=doubt)
    torch.testing.assert_close(loss, soft_target_loss(student, teacher))


def test_is_zero_at_the_teacher():
    _, teacher = pair(dtype=torch.float32)
    value, gradient = value_and_gradient(labelled(), teacher, teacher)
    assert value == 0
    assert gradient.abs().max() < 1e-6


@settings(deadline=None, max_examples=30)
@given(st.permutations(range(10)), st.floats(-50, 50))
def test_knows_neither_the_order_of_classes_nor_a_shift(order, shift):
    student, teacher = pair()
    targets = torch.arange(8)
    expected = dkd_loss(student, teacher, targets)
    places = torch.tensor(order).argsort()[targets]
    torch.testing.assert_close(dkd_loss(student[:, order], teacher[:, order], places), expected)
    torch.testing.assert_close(dkd_loss(student + shift, teacher - shift, targets), expected)


def test_exact_where_the_target_takes_all_the_mass():
    """In float32 1 - p rounds to 0 here, and a mask of -1000 leaves the logits of the others 4 bits in bfloat16."""
    student = torch.tensor([[60.0, 1.0, 0.0], [50.0, -1.0, 2.0]])
    teacher = torch.tensor([[80.0, 0.0, 1.0], [90.0, 3.0, 1.0]])
    targets = torch.zeros(2, dtype=torch.long)
    kwargs = {"alpha": 1.0, "beta": 2.0, "temperature": 1.0}
    value, gradient = value_and_gradient(lambda z, v: dkd_loss(z, v, targets, **kwargs), student, teacher)
    exact, slope = value_and_gradient(
        lambda z, v: dkd_loss(z, v, targets, **kwargs), student.double(), teacher.double()
    )
    torch.testing.assert_close(value.double(), exact, rtol=1e-6, atol=0)
    torch.testing.assert_close(gradient.double(), slope, rtol=1e-6, atol=1e-20)
    assert exact > 0.1


def test_two_classes_have_no_others_to_tell_apart():
    student, teacher = pair(4, 2)
    loss = labelled(alpha=1.0, beta=100.0)(student, teacher)
    torch.testing.assert_close(loss, soft_target_loss(student, teacher))


def test_gradcheck():
    student, teacher = pair(3, 5)
    assert torch.autograd.gradcheck(lambda z: labelled(alpha=0.5, beta=2.0)(z, teacher), student)


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate(name):
    logits = DEGENERATE[name]
    # tau / B times alpha for the target, beta + alpha for the others: at most 4 * 9.
    assert_sane(labelled(), logits, logits.flip(1), largest_gradient=36.0)


def test_a_nan_is_seen():
    student, teacher = pair()
    teacher[3, 4] = math.nan
    assert labelled()(student, teacher).isnan()


def test_autocast():
    assert_full_precision_under_autocast(labelled())


def test_compiles():
    assert_compiles(labelled())


def test_a_second_derivative_is_refused():
    student, teacher = pair()
    with pytest.raises(RuntimeError, match="double backward is not supported"):
        torch.autograd.grad(labelled()(student, teacher), student, create_graph=True)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (None, "DKD needs the labels of the batch as targets, found None"),
        (torch.full((8, 10), 0.1), r"found torch.float32 of shape \(8, 10\); mixup, cutmix and one-hot labels have no"),
        (torch.zeros(8, 1).long(), r"must be class indices of shape \(B,\), found torch.int64 of shape \(8, 1\)"),
        (torch.zeros(7).long(), r"must hold one index per sample \(8\), found 7"),
        (torch.full((8,), 10), r"must lie in 0..9, the classes of the logits, found 10..10"),
        (
            torch.tensor([0, 1, 2, 3, 4, 5, 6, -100]),
            r"found -100..6; does num_classes of the models match the data set",
        ),
        ([0] * 8, "must be a tensor of class indices, found list"),
    ],
)
def test_refuses_other_targets(targets, message):
    with pytest.raises(ValueError, match=message):
        dkd_loss(*pair(), targets)


def test_refuses():
    with pytest.raises(ValueError, match=r"C >= 2, found \(2, 1\)"):
        dkd_loss(torch.zeros(2, 1), torch.zeros(2, 1), torch.zeros(2).long())
    with pytest.raises(ValueError, match="temperature must be a finite number above 0, found tensor"):
        dkd_loss(*pair(), torch.arange(8), temperature=torch.tensor(4.0))


@pytest.mark.parametrize("kind", [torch.int32, torch.uint8])
def test_labels_of_another_integer_type(kind):
    student, teacher = pair()
    targets = torch.arange(8)
    assert dkd_loss(student, teacher, targets.to(kind)) == dkd_loss(student, teacher, targets)


def test_module():
    module = DKDLoss(alpha=0.5, beta=2.0, temperature=3.0)
    assert repr(module) == "DKDLoss(alpha=0.5, beta=2.0, temperature=3.0, warmup=20)"
    assert not module.state_dict()
    targets = torch.arange(8)
    expected = dkd_loss(*pair(), targets, alpha=0.5, beta=2.0, temperature=3.0)
    torch.testing.assert_close(module(*pair(), targets), expected)
    for name in ("alpha", "beta", "warmup"):
        with pytest.raises(ValueError, match=f"{name} must be a finite number of at least 0, found -1"):
            DKDLoss(**{name: -1})
    with pytest.raises(ValueError, match="temperature must be a finite number above 0, found 0"):
        DKDLoss(temperature=0)
