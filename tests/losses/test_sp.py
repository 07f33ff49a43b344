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

from kd_plugins.losses import SimilarityLoss, similarity_loss


def test_hand_computed_value():
    # Student (3), (4): G = (9, 12), (12, 16), rows (3/5, 4/5) twice. Teacher: unit vectors, G = 1.
    # (3/5 - 1)^2 + (4/5)^2 + (3/5)^2 + (4/5 - 1)^2 = 0.16 + 0.64 + 0.36 + 0.04, over 2^2
    assert similarity_loss(torch.tensor([[3.0], [4.0]]), torch.eye(2)).item() == pytest.approx(0.3)


def test_golden():
    # megvii-research/mdistiller, commit a08d46f, mdistiller/distillers/SP.py, similarity_loss.
    student, teacher = golden_maps()
    gradient = Summary(
        l2=0.002993469035018102,
        wsum=-8.845947784004024e-05,
        first=(
            -2.3129058673622413e-05,
            2.690468409957304e-05,
            5.733459099202709e-05,
            -3.6371321054450286e-05,
            -4.3141978699124604e-05,
            2.1298622629613467e-05,
            3.505602012418843e-05,
            -8.780001716939627e-06,
        ),
    )
    assert_golden(similarity_loss(student, teacher), student, 0.19426345379820492, gradient)


def test_slow_loop():
    student, teacher = maps((3, 2, 2, 2), (3, 5, 1, 3))
    grams = []
    for features in (student, teacher):
        rows = features.flatten(1).tolist()
        gram = [[sum(a * b for a, b in zip(x, y, strict=True)) for y in rows] for x in rows]
        grams.append([[v / math.sqrt(sum(w * w for w in row)) for v in row] for row in gram])
    total = sum((grams[0][i][j] - grams[1][i][j]) ** 2 for i in range(3) for j in range(3))
    assert similarity_loss(student, teacher).item() == pytest.approx(total / 9)


@settings(deadline=None, max_examples=20)
@given(st.permutations(range(4)), st.floats(0.1, 100), st.integers(0, 99))
def test_knows_neither_the_order_of_samples_nor_a_scale_nor_a_rotation(order, scale, seed):
    student, teacher = maps(seed=seed)
    rotation, _ = torch.linalg.qr(maps((180, 180), seed=seed)[1])
    rotated = (scale * student.flatten(1) @ rotation)[order]
    torch.testing.assert_close(similarity_loss(rotated, teacher[order]), similarity_loss(student, teacher))


def test_one_sample_is_always_alike():
    student, teacher = maps((1, 5, 6, 6))
    loss = similarity_loss(student, teacher)
    assert loss == 0
    assert torch.autograd.grad(loss, student)[0].abs().max() < 1e-12


@pytest.mark.parametrize("shape", [(3, 2, 2, 2), (3, 4, 5), (3, 6)])
def test_gradcheck_whatever_the_layout(shape):
    student, teacher = maps(shape, (3, 7))
    assert torch.autograd.gradcheck(lambda f: similarity_loss(f, teacher), student)


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate(name):
    features = DEGENERATE[name]
    assert_sane(similarity_loss, features, features.flip(2), largest_gradient=1e3)


def test_autocast():
    assert_maps_at_full_precision_under_autocast(similarity_loss)


def test_compiles():
    assert_compiles_on_maps(similarity_loss)


@pytest.mark.parametrize(
    ("student", "teacher", "message"),
    [
        (torch.zeros(2, 3), torch.zeros(3, 3), "same samples, found 2 and 3"),
        (torch.zeros(2), torch.zeros(2, 3), r"student must be features of shape \(B, ...\), found \(2,\)"),
        (torch.zeros(2, 3), None, "teacher must be features .* found NoneType"),
        (torch.zeros(2, 3), torch.zeros(2, 3, device="meta"), "on one device, found cpu and meta"),
    ],
)
def test_refuses_other_features(student, teacher, message):
    with pytest.raises(ValueError, match=message):
        similarity_loss(student, teacher)


def test_module():
    assert not SimilarityLoss().state_dict()
    assert torch.equal(SimilarityLoss()(*maps()), similarity_loss(*maps()))
