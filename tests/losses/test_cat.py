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

from kd_plugins.losses import CATLoss, cat_loss
from kd_plugins.transforms import class_activation_maps


def test_hand_computed_values():
    # Pooled to one row each: the student's class maps are (3, 4) and (0, 2), the teacher's (1, 0) and (0, 5).
    # Normalised (3/5 - 1)^2 + (4/5)^2 + 0 over 4; else (3 - 1)^2 + 4^2 + 0 + (2 - 5)^2 over 4.
    student = torch.tensor([[[[3.0, 4.0]], [[0.0, 2.0]]]]).expand(1, 2, 2, 2)
    teacher = torch.tensor([[[[1.0, 0.0]], [[0.0, 5.0]]]]).expand(1, 2, 2, 2)
    # Two equal rows: the lengths grow by sqrt 2, the squares of the differences halve, and there are twice as many.
    assert cat_loss(student, teacher).item() == pytest.approx(0.8 / 8)
    assert cat_loss(student, teacher, normalize=False).item() == pytest.approx(29 / 4)


def test_golden():
    # GzyAftermath/CAT-KD, commit 4467073, mdistiller/distillers/CAT_KD.py, CAT_loss, normalised, to 2 x 2.
    student, teacher = golden_maps(10, 10)
    gradient = Summary(
        l2=0.06492212168138108,
        wsum=0.005708056197472456,
        first=(
            0.0021293692648361212,
            0.0021293692648361212,
            0.0021293692648361212,
            0.0021293692648361212,
            -4.47550185707368e-06,
            -4.47550185707368e-06,
            -4.47550185707368e-06,
            -4.47550185707368e-06,
        ),
    )
    assert_golden(cat_loss(student, teacher), student, 0.15778856438453598, gradient)


def test_golden_without_normalisation():
    # As above, with normalisation off.
    student, teacher = golden_maps(10, 10)
    gradient = Summary(
        l2=0.004176840325725936,
        wsum=0.00028071043030058703,
        first=(
            7.515350387639713e-05,
            7.515350387639713e-05,
            7.515350387639713e-05,
            7.515350387639713e-05,
            1.6293867883528964e-05,
            1.6293867883528964e-05,
            1.6293867883528964e-05,
            1.6293867883528964e-05,
        ),
    )
    assert_golden(cat_loss(student, teacher, normalize=False), student, 0.022330873736461237, gradient)


def test_slow_loop():
    student, teacher = maps((2, 3, 4, 4), (2, 3, 6, 6))
    total = 0.0
    for sample in range(2):
        for index in range(3):
            vectors = []
            for x, half in ((student, 2), (teacher, 3)):
                pooled = [
                    x[sample, index, h * half : (h + 1) * half, w * half : (w + 1) * half].mean().item()
                    for h in range(2)
                    for w in range(2)
                ]
                length = math.sqrt(sum(v * v for v in pooled))
                vectors.append([v / length for v in pooled])
            total += sum((a - b) ** 2 for a, b in zip(*vectors, strict=True)) / 24
    assert cat_loss(student, teacher).item() == pytest.approx(total)


@settings(deadline=None, max_examples=20)
@given(st.permutations(range(5)), st.floats(0.1, 100), st.floats(0.1, 100))
def test_normalised_knows_neither_scales_nor_the_order_of_classes(order, a, b):
    student, teacher = maps()
    torch.testing.assert_close(cat_loss(a * student[:, order], b * teacher[:, order]), cat_loss(student, teacher))


@pytest.mark.parametrize("normalize", [True, False])
def test_pooling_commutes_with_the_head(normalize):
    student, teacher = maps((2, 6, 8, 8))
    weight = maps((7, 6), seed=1)[1]
    late = cat_loss(class_activation_maps(student, weight), class_activation_maps(teacher, weight), normalize=normalize)
    pooled = [torch.nn.functional.adaptive_avg_pool2d(x, 2) for x in (student, teacher)]
    early = cat_loss(*(class_activation_maps(x, weight) for x in pooled), normalize=normalize)
    torch.testing.assert_close(late, early)


@pytest.mark.parametrize("normalize", [True, False])
def test_gradcheck(normalize):
    student, teacher = maps((2, 2, 4, 4))
    assert torch.autograd.gradcheck(lambda m: cat_loss(m, teacher, normalize=normalize), student)


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate(name):
    features = DEGENERATE[name]
    # Of unit maps, the gradient is at most 2 * 2 / 0.01.
    assert_sane(lambda s, t: cat_loss(s, t, size=1), features, features.flip(1), largest_gradient=400)
    if features.shape[2] > 1:
        assert_sane(cat_loss, features, features.flip(2), largest_gradient=400)


def test_a_head_of_zeros_has_a_bounded_gradient():
    features, teacher = maps((4, 6, 4, 4))
    weight = torch.zeros(5, 6, dtype=torch.float64, requires_grad=True)
    loss = cat_loss(class_activation_maps(features, weight), teacher[:, :5])
    gradient = torch.autograd.grad(loss, weight)[0]
    assert 0 < gradient.abs().max() < 10


@pytest.mark.parametrize("normalize", [True, False])
def test_autocast(normalize):
    assert_maps_at_full_precision_under_autocast(lambda s, t: cat_loss(s, t, normalize=normalize))


def test_compiles():
    assert_compiles_on_maps(cat_loss)


@pytest.mark.parametrize("size", [0, 2.0, True, None])
def test_refuses_another_size(size):
    for build in (lambda: CATLoss(size=size), lambda: cat_loss(*maps(), size=size)):
        with pytest.raises(ValueError, match="size must be a whole number of at least 1, found"):
            build()


def test_refuses_other_maps():
    with pytest.raises(ValueError, match=r"size must be at most 3, the smallest side of the maps .*, found 4"):
        cat_loss(*maps((2, 5, 6, 6), (2, 5, 3, 6)), size=4)
    with pytest.raises(ValueError, match=r"one map per class each, found 5 and 6 .*class_activation_maps"):
        cat_loss(*maps((2, 5, 6, 6), (2, 6, 6, 6)))


def test_module():
    module = CATLoss(size=3, normalize=False)
    assert repr(module) == "CATLoss(size=3, normalize=False)"
    assert torch.equal(module(*maps()), cat_loss(*maps(), size=3, normalize=False))
