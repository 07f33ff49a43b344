import math

import pytest
import torch
from feature_checks import (
    DEGENERATE,
    assert_compiles_on_maps,
    assert_maps_at_full_precision_under_autocast,
    golden_maps,
    maps,
)
from golden import Summary, assert_golden
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_checks import assert_sane

from kd_plugins.losses import AttentionTransferLoss, attention_transfer_loss

FORMS = [{}, {"form": "norm", "beta": 2.0}, {"form": "norm", "p": 1}]


def test_hand_computed_values():
    # Attention (0 + 6) / 2 and (1 + 7) / 2 is (3, 4), of length 5; the teacher's is (1, 0).
    # (3/5 - 1)^2 + (4/5)^2 = 0.16 + 0.64 over two positions; as a norm sqrt(0.8), with p=1 0.4 + 0.8.
    student = torch.tensor([0.0, 1.0, 6.0, 7.0]).sqrt().reshape(1, 2, 1, 2)
    teacher = torch.tensor([[[[-9.0, 0.0]]]])
    assert attention_transfer_loss(student, teacher).item() == pytest.approx(0.4)
    norm = attention_transfer_loss(student, teacher, form="norm", beta=3.0)
    assert norm.item() == pytest.approx(1.5 * math.sqrt(0.8))
    assert attention_transfer_loss(student, teacher, form="norm", p=1).item() == pytest.approx(0.6)


def test_golden():
    # megvii-research/mdistiller, commit a08d46f, mdistiller/distillers/AT.py, single_stage_at_loss at p=2.
    student, teacher = golden_maps()
    gradient = Summary(
        l2=0.00018141446554416387,
        wsum=-0.00025564969170946097,
        first=(
            -1.5117300821783084e-06,
            -4.196064102226047e-06,
            -2.2619436922074707e-07,
            -4.338574853661645e-07,
            1.4560313439351741e-06,
            1.0402445435593416e-07,
            -3.544260643611571e-06,
            1.060872387023469e-06,
        ),
    )
    assert_golden(attention_transfer_loss(student, teacher), student, 0.0009828920329449677, gradient)


@pytest.mark.parametrize("power", [1, 2, 3])
def test_slow_loop(power):
    student, teacher = maps((2, 3, 2, 2), (2, 4, 2, 2))
    total = norms = 0.0
    for sample in range(2):
        vectors = []
        for x in (student[sample], teacher[sample]):
            q = [sum(abs(v) ** power for v in x[:, h, w].tolist()) / len(x) for h in range(2) for w in range(2)]
            length = math.sqrt(sum(v * v for v in q))
            vectors.append([v / length for v in q])
        squares = sum((a - b) ** 2 for a, b in zip(*vectors, strict=True))
        total, norms = total + squares / 8, norms + math.sqrt(squares) / 2
    assert attention_transfer_loss(student, teacher, power=power).item() == pytest.approx(total)
    norm = attention_transfer_loss(student, teacher, power=power, form="norm", beta=5.0)
    assert norm.item() == pytest.approx(2.5 * norms)


@settings(deadline=None, max_examples=20)
@given(st.floats(0.1, 100), st.floats(0.1, 100), st.permutations(range(5)), st.sampled_from(FORMS))
def test_knows_neither_scales_nor_signs_nor_the_order_of_channels(a, b, order, arguments):
    student, teacher = maps((4, 5, 6, 6), (4, 7, 3, 6))
    student = student[:, :, :3]  # of one size: averages of signed values would cancel out
    expected = attention_transfer_loss(student, teacher, **arguments)
    changed = attention_transfer_loss(-a * student[:, order], -b * teacher, **arguments)
    torch.testing.assert_close(changed, expected)


def test_activations_are_pooled_to_the_smaller_size():
    student, teacher = maps((2, 3, 8, 8), (2, 5, 4, 4))
    pooled = torch.nn.functional.avg_pool2d(student, 2)
    torch.testing.assert_close(attention_transfer_loss(student, teacher), attention_transfer_loss(pooled, teacher))


@pytest.mark.parametrize("arguments", [*FORMS, {"power": 3}, {"form": "norm", "p": 3}])
def test_gradcheck(arguments):
    student, teacher = maps((2, 2, 4, 4), (2, 3, 2, 2))
    assert torch.autograd.gradcheck(lambda f: attention_transfer_loss(f, teacher, **arguments), student)


@pytest.mark.parametrize("arguments", [*FORMS, {"power": 1}, {"power": 1.5}])
@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate(name, arguments):
    features = DEGENERATE[name]
    # By the bound of the gradient of Q: at most 2 / 1e-4 at power 1, less above it.
    assert_sane(
        lambda s, t: attention_transfer_loss(s, t, **arguments), features, features.flip(2), largest_gradient=2e4
    )


@pytest.mark.parametrize("arguments", FORMS)
def test_at_the_teacher_value_and_gradient_are_zero(arguments):
    _, teacher = maps()
    student = teacher.clone().requires_grad_()
    loss = attention_transfer_loss(student, teacher, **arguments)
    assert loss == 0
    assert torch.equal(torch.autograd.grad(loss, student)[0], torch.zeros_like(student))


@pytest.mark.parametrize("arguments", FORMS)
def test_autocast(arguments):
    assert_maps_at_full_precision_under_autocast(lambda s, t: attention_transfer_loss(s, t, **arguments))


@pytest.mark.parametrize("form", ["mean_squared", "norm"])
def test_compiles(form):
    assert_compiles_on_maps(lambda s, t: attention_transfer_loss(s, t, form=form))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"power": 0}, "power must be a finite number of at least 1, found 0"),
        ({"form": "l2"}, "form must be one of 'mean_squared', 'norm', found 'l2'"),
        ({"form": "norm", "beta": 0}, "beta must be a finite number above 0, found 0"),
        ({"form": "norm", "p": float("inf")}, "p must be a finite number of at least 1, found inf"),
        ({"beta": 1000.0}, r"beta and p belong to form='norm', found beta=1000.0 .* weight the loss"),
    ],
)
def test_refuses_other_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        attention_transfer_loss(*maps(), **arguments)
    with pytest.raises(ValueError, match=message):
        AttentionTransferLoss(**arguments)


def test_refuses_what_is_no_map():
    with pytest.raises(ValueError, match=r"student must be a map of shape \(B, c, H, W\), found \(2, 17, 8\)"):
        attention_transfer_loss(torch.zeros(2, 17, 8), torch.zeros(2, 8, 4, 4))


def test_module():
    module = AttentionTransferLoss(power=3, form="norm", beta=2.0, p=1)
    assert repr(module) == "AttentionTransferLoss(power=3, form='norm', beta=2.0, p=1)"
    assert repr(AttentionTransferLoss()) == "AttentionTransferLoss(power=2, form='mean_squared')"
    expected = attention_transfer_loss(*maps(), power=3, form="norm", beta=2.0, p=1)
    assert torch.equal(module(*maps()), expected)
