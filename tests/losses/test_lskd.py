import math
import statistics

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
)
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

from kd_plugins.losses import LSKDLoss, lskd_loss, soft_target_loss
from kd_plugins.transforms import standardize


def loop_reference(student, teacher, tau):
    def probabilities(row):
        mean, std = statistics.fmean(row), statistics.pstdev(row)
        weights = [math.exp((x - mean) / (std + 1e-7) / tau) for x in row]
        return [w / sum(weights) for w in weights]

    total = 0.0
    for z, v in zip(student.tolist(), teacher.tolist(), strict=True):
        q, p = probabilities(z), probabilities(v)
        total += sum(pk * math.log(pk / qk) for pk, qk in zip(p, q, strict=True))
    return tau**2 * total / len(student)


def test_hand_computed_value():
    # Two logits standardize to -1 and 1, whatever they are, so [9, 5] and [2, 3] become [1, -1] and [-1, 1].
    # With tau = 2, p = sigmoid(1) of the teacher's second class against sigmoid(-1) = 1 - p:
    # KL = p ln(p / (1-p)) + (1-p) ln((1-p) / p) = 2p - 1, as ln(p / (1-p)) = 1; times tau^2.
    student, teacher = torch.tensor([[9.0, 5.0]]), torch.tensor([[2.0, 3.0]])
    p = 1 / (1 + math.exp(-1))
    assert lskd_loss(student, teacher).item() == pytest.approx(4 * (2 * p - 1), rel=1e-5)


def test_golden():
    # sunshangquan/logit-standardization-KD, commit f6e5aa5, mdistiller/distillers/KD.py,
    # kd_loss(logit_stand=True) at T=2; its standard deviation divides by C - 1.
    student, teacher = golden_student(), golden_teacher()
    loss = lskd_loss(student, teacher, temperature=2.0, correction=1)
    gradient = Summary(
        l2=0.07772609466159944,
        wsum=-0.04469793926992586,
        first=(
            -0.006192042288836187,
            0.004638752349636072,
            0.0011867042583368782,
            0.0129755128064858,
            -0.002191718772736286,
            -0.01937041513762463,
            0.003178807717921583,
            -0.002770503012230153,
        ),
    )
    assert_golden(loss, student, 0.5600150122179174, gradient)


def test_golden_z_scores():
    # The same function's standardized logits.
    of_student = Summary(
        l2=8.48528070917842,
        wsum=-0.16273316415849626,
        first=(0.8347091336354633, 1.490878701584049, -0.3358001940292309, -0.08163592170575229),
    )
    of_teacher = Summary(
        l2=8.485280966393745,
        wsum=1.1796798233853396,
        first=(0.6499658100699044, 0.22974077167279477, -0.12620814599595645, -2.0455266317765624),
    )
    of_student.matches(standardize(golden_student(), correction=1), rel=1e-9)
    of_teacher.matches(standardize(golden_teacher(), correction=1), rel=1e-9)


def test_slow_loop():
    student, teacher = pair()
    expected = loop_reference(student, teacher, 3.0)
    assert lskd_loss(student, teacher, temperature=3.0).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("correction", [0, 1])
def test_is_the_soft_target_loss_of_standardized_logits(correction):
    student, teacher = (standardize(x, correction=correction) for x in pair())
    torch.testing.assert_close(
        lskd_loss(*pair(), temperature=3.0, correction=correction),
        soft_target_loss(student, teacher, temperature=3.0),
    )


@settings(deadline=None, max_examples=30)
@given(st.floats(-100, 100), st.floats(0.1, 100), st.floats(-100, 100), st.floats(0.1, 100), st.integers(0, 99))
def test_shift_and_scale_of_either_side_change_nothing(a, b, c, d, seed):
    student, teacher = pair(seed=seed)
    expected = lskd_loss(student, teacher)
    torch.testing.assert_close(lskd_loss(a + b * student, c + d * teacher), expected, rtol=1e-5, atol=1e-9)


def test_toy_case_the_student_with_the_teachers_order_wins():
    teacher = torch.tensor([[1.0, 2.0, 4.0, 3.0]])
    near_but_wrong = torch.tensor([[1.0, 2.0, 3.3, 3.7]])
    far_but_alike = 0.2 * teacher + 1
    plain = [soft_target_loss(s, teacher, temperature=1.0) for s in (near_but_wrong, far_but_alike)]
    ours = [lskd_loss(s, teacher) for s in (near_but_wrong, far_but_alike)]
    assert plain[0] < plain[1]
    assert ours[0] > 0.05
    assert ours[1].abs() < 1e-6
    assert lskd_loss(teacher, teacher) == 0


def test_gradcheck():
    student, teacher = pair(3, 5)
    tau = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z, t: lskd_loss(z, teacher, temperature=t), (student, tau))
    assert torch.autograd.gradcheck(lambda z: lskd_loss(z, teacher, correction=1), student)


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate(name):
    logits = DEGENERATE[name]
    # tau^2 * (p - q) / tau / B over a deviation of at least 0.1 is at most 10 * tau.
    assert_sane(lskd_loss, logits, logits.flip(1), largest_gradient=20.0)


def test_constant_student_learns_from_a_teacher_at_a_bounded_rate():
    assert_sane(lskd_loss, torch.zeros(4, 10), pair(4)[1].float(), largest_gradient=5.0)


def train_from_zero_head(loss):
    """Train 9 * loss + 0.1 * CE on the digits from an all-zero head; return accuracy and first gradient."""
    digits = load_digits()
    images, labels = torch.tensor(digits.data / 16, dtype=torch.float32), torch.tensor(digits.target)
    torch.manual_seed(0)
    teacher = 5 * F.one_hot(labels, 10) + torch.randn(len(labels), 10)
    student = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    nn.init.zeros_(student[2].weight)
    nn.init.zeros_(student[2].bias)
    optimizer = torch.optim.SGD(student.parameters(), lr=0.05, momentum=0.9)
    first = None
    for _ in range(5):
        for batch in torch.randperm(1400).split(64):
            optimizer.zero_grad()
            logits = student(images[batch])
            (9 * loss(logits, teacher[batch]) + 0.1 * F.cross_entropy(logits, labels[batch])).backward()
            first = student[2].weight.grad.norm().item() if first is None else first
            optimizer.step()
    predicted = student(images[1400:]).argmax(1)
    return (predicted == labels[1400:]).float().mean().item(), first


def test_a_zero_initialised_head_trains():
    accuracy, first_gradient = train_from_zero_head(lskd_loss)
    assert accuracy > 0.85
    assert first_gradient < 100


def test_the_plain_formula_throws_a_zero_initialised_head_out():
    def plain(student, teacher):
        def z_score(x):
            centred = x - x.mean(1, keepdim=True)
            return centred / ((centred.square().mean(1, keepdim=True) + 1e-14).sqrt() + 1e-7)

        return soft_target_loss(z_score(student), z_score(teacher), temperature=2.0)

    accuracy, first_gradient = train_from_zero_head(plain)
    assert accuracy < 0.5
    assert first_gradient > 1e5


def test_autocast():
    assert_full_precision_under_autocast(lskd_loss)


def test_compiles():
    assert_compiles(lskd_loss)


def test_a_second_derivative_is_refused():
    student, teacher = pair()
    with pytest.raises(RuntimeError, match="double backward is not supported"):
        torch.autograd.grad(lskd_loss(student, teacher), student, create_graph=True)


def test_refuses():
    with pytest.raises(ValueError, match=r"same number of classes\?"):
        lskd_loss(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(ValueError, match="correction must be one of 0, 1, found 2"):
        lskd_loss(*pair(), correction=2)


def test_module():
    module = LSKDLoss(temperature=3.0, correction=1)
    assert repr(module) == "LSKDLoss(temperature=3.0, correction=1)"
    assert repr(LSKDLoss(scale=False)).endswith("correction=0, centre=True, scale=False)")
    assert not module.state_dict()
    torch.testing.assert_close(module(*pair()), lskd_loss(*pair(), temperature=3.0, correction=1))
    with pytest.raises(ValueError, match="correction must be one of 0, 1, found 3"):
        LSKDLoss(correction=3)
    with pytest.raises(ValueError, match="temperature must be a finite number above 0, found inf"):
        LSKDLoss(temperature=math.inf)


def test_parts_of_the_z_score():
    student, teacher = pair()
    # Without the scale, KD at this temperature; without the centre, the same softmax.
    found = lskd_loss(student, teacher, temperature=2.0, scale=False)
    torch.testing.assert_close(found, soft_target_loss(student, teacher, temperature=2.0))
    torch.testing.assert_close(lskd_loss(student, teacher, centre=False), lskd_loss(student, teacher))
