import pytest
import torch
from golden import Summary, assert_golden, golden_student, golden_teacher
from loss_checks import (
    DEGENERATE,
    assert_compiles,
    assert_full_precision_under_autocast,
    assert_sane,
    pair,
)
from torch.nn import functional as F

from kd_plugins.losses import CTKDLoss, ctkd_loss, soft_target_loss
from kd_plugins.modules import GlobalTemperature
from kd_plugins.transforms import standardize

TARGETS = (7 * torch.arange(8) + 3) % 10


def at(tau):
    return lambda student, teacher: ctkd_loss(student, teacher, torch.tensor([tau]))


def test_hand_computed_value():
    # As the soft-target loss at temperature 4: logits (0, 4) / 4 against uniform.
    # p = (1, e) / (1 + e) = (0.26894, 0.73106): 16 * (0.26894 ln 0.53788 + 0.73106 ln 1.46212) = 1.7751
    loss = ctkd_loss(torch.zeros(1, 2), torch.tensor([[0.0, 4.0]]), torch.tensor([4.0]))
    assert loss.item() == pytest.approx(1.7751, rel=1e-4)


GOLDEN = {
    # sunshangquan/logit-standardization-KD, commit f6e5aa5, CTKD/models/temp_global.py, CTKD/distiller_zoo/KD.py and
    # CTKD/train_student.py: Global_T, DistillKL, CosineDecay at the parameter 1 in epoch 1; 0.1 * CE + weight * KL.
    "plain": {
        "weight": 0.9,
        "kl": 1.9166168376024604,
        "value": 2.0055213127107505,
        "of_parameter": -0.00014485833991619563,
        "gradient": Summary(
            l2=0.19693078439221032,
            wsum=-0.03673532505473479,
            first=(-0.0018401896504595297, 0.018798886100100155, 8.595836717113678e-05, 0.02820309483209657),
        ),
    },
    "standardized": {
        "weight": 9.0,
        "kl": 0.571197663206771,
        "value": 5.4213451277294755,
        "of_parameter": -4.274424770963444e-05,
        "gradient": Summary(
            l2=0.6840227385671819,
            wsum=-0.18438675669328997,
            first=(-0.0528025322521712, 0.007492405677753128, 0.009237295902521168, 0.18377730328813213),
        ),
    },
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden(name):
    case = GOLDEN[name]
    student = golden_student()
    temperature = GlobalTemperature().double()
    temperature.set_epoch(0)  # their first, which they count as 1
    z, v = student, golden_teacher()
    if name == "standardized":
        z, v = (standardize(x, correction=1) for x in (z, v))
    kl = ctkd_loss(z, v, temperature())
    assert kl.item() == pytest.approx(case["kl"], rel=1e-6)
    value = 0.1 * F.cross_entropy(student, TARGETS) + case["weight"] * kl
    (of_parameter,) = torch.autograd.grad(value, temperature.score, retain_graph=True)
    assert of_parameter.item() == pytest.approx(case["of_parameter"], rel=1e-6)
    assert_golden(value, student, case["value"], case["gradient"])


def test_slow_loop_over_samples():
    student, teacher = pair()
    temperatures = torch.linspace(1, 5, 8, dtype=torch.float64)
    alone = [
        soft_target_loss(student[i : i + 1], teacher[i : i + 1], temperature=temperatures[i].item()) for i in range(8)
    ]
    torch.testing.assert_close(ctkd_loss(student, teacher, temperatures), torch.stack(alone).mean())


@pytest.mark.parametrize("count", [1, 3])
def test_gradcheck(count):
    student, teacher = pair(3, 4)
    tau = torch.linspace(2.0, 4.0, count, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda z, t: ctkd_loss(z, teacher, t), (student, tau))


def test_knows_no_shift():
    student, teacher = pair()
    torch.testing.assert_close(at(3.0)(student + 7, teacher - 2), at(3.0)(student, teacher))


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate(name):
    logits = DEGENERATE[name]
    assert_sane(at(4.0), logits, logits.flip(1), largest_gradient=4.0)


def test_autocast():
    assert_full_precision_under_autocast(at(4.0))


def test_compiles():
    assert_compiles(at(4.0))


def test_refuses():
    with pytest.raises(ValueError, match=r"temperature of CTKD must be a learned tensor, found 4.0; .*SoftTar"):
        ctkd_loss(*pair(), 4.0)
    with pytest.raises(ValueError, match=r"1 value or one per sample \(8\), found shape \(3,\)"):
        ctkd_loss(*pair(), torch.ones(3))


def test_module():
    module = CTKDLoss()
    assert repr(module) == "CTKDLoss()"
    assert not module.state_dict()
    student, teacher = pair()
    tau = torch.tensor([2.0])
    assert module(student, teacher, tau) == ctkd_loss(student, teacher, tau)
