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

from kd_plugins.losses import HintLoss, hint_loss


def test_hand_computed_value():
    # Differences 1, -3, 0, 2 over 1 sample, 2 channels, 1 x 2 positions: (1 + 9 + 0 + 4) / 4
    student = torch.tensor([[[[1.0, 0.0]], [[2.0, 2.0]]]])
    teacher = torch.tensor([[[[0.0, 3.0]], [[2.0, 0.0]]]])
    assert hint_loss(student, teacher).item() == 3.5


def test_golden():
    # HobbitLong/RepDistiller, commit b84f547, distiller_zoo/FitNet.py, HintLoss.
    student, teacher = golden_maps(32, 32)
    gradient = Summary(
        l2=0.012044415452991883,
        wsum=-0.0002289732844776008,
        first=(
            -9.496345071860407e-06,
            8.573495718652317e-05,
            2.6750908807690507e-05,
            0.0001065958929898124,
            -4.057667639361256e-05,
            -6.613570204222233e-05,
            1.2380014309916926e-05,
            -1.2586152603509908e-05,
        ),
    )
    assert_golden(hint_loss(student, teacher), student, 0.5941982970030886, gradient)


def test_slow_loop():
    student, teacher = maps((2, 3, 2, 2))
    squares = [(a - b) ** 2 for a, b in zip(student.flatten().tolist(), teacher.flatten().tolist(), strict=True)]
    assert hint_loss(student, teacher).item() == pytest.approx(sum(squares) / 24)


@pytest.mark.parametrize("sizes", [((6, 6), (3, 3)), ((3, 3), (6, 6)), ((6, 2), (3, 4))])
def test_both_sides_are_pooled_to_the_smaller_size(sizes):
    student, teacher = maps(*((2, 3, *size) for size in sizes))
    small = [min(pair) for pair in zip(*sizes, strict=True)]
    pooled = [torch.nn.functional.adaptive_avg_pool2d(x, small) for x in (student, teacher)]
    torch.testing.assert_close(hint_loss(student, teacher), (pooled[0] - pooled[1]).square().mean())


@settings(deadline=None, max_examples=20)
@given(st.permutations(range(5)), st.floats(-50, 50))
def test_knows_neither_the_order_of_channels_nor_a_common_shift(order, shift):
    student, teacher = maps()
    expected = hint_loss(student, teacher)
    torch.testing.assert_close(hint_loss(student[:, order] + shift, teacher[:, order] + shift), expected)


def test_is_exactly_zero_at_the_teacher():
    _, teacher = maps()
    assert hint_loss(teacher, teacher) == 0


def test_gradcheck():
    student, teacher = maps((2, 2, 4, 4), (2, 2, 2, 2))
    assert torch.autograd.gradcheck(lambda f: hint_loss(f, teacher), student)


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate(name):
    features = DEGENERATE[name]
    assert_sane(hint_loss, features, features.flip(1), largest_gradient=2e4)


def test_autocast():
    assert_maps_at_full_precision_under_autocast(hint_loss)


def test_compiles():
    assert_compiles_on_maps(hint_loss)


def test_other_channels_want_a_regressor_and_the_message_shows_it():
    with pytest.raises(ValueError, match=r"same number of channels, found 16 and 32 in maps") as caught:
        hint_loss(torch.zeros(2, 16, 8, 8), torch.zeros(2, 32, 4, 8))
    assert (
        "auxiliary_model_wrapper: {key: RegressorStudent, kwargs: {pairs: [{student: stage3, channels: 32, "
        "size: [4, 8]}]}} and forward_hook: {output: [regressors.stage3]}"
    ) in str(caught.value)


@pytest.mark.parametrize(
    ("student", "teacher", "message"),
    [
        (torch.zeros(2, 17, 8), torch.zeros(2, 8, 4, 4), r"student must be a map .* found \(2, 17, 8\)"),
        (torch.zeros(2, 8, 4, 4), torch.zeros(2, 8), r"teacher must be a map .* found \(2, 8\)"),
        (torch.zeros(2, 8, 4, 4), torch.zeros(3, 8, 4, 4), "same samples, found 2 and 3"),
        (torch.zeros(0, 8, 4, 4), torch.zeros(0, 8, 4, 4), r"student must be a map .* found \(0, 8, 4, 4\)"),
        (torch.zeros(2, 8, 4, 4).long(), torch.zeros(2, 8, 4, 4), "student must hold floating-point numbers"),
        ([torch.zeros(2, 8, 4, 4)], torch.zeros(2, 8, 4, 4), "student must be a map .* found list"),
    ],
)
def test_refuses_other_shapes(student, teacher, message):
    with pytest.raises(ValueError, match=message):
        hint_loss(student, teacher)


def test_module():
    module = HintLoss()
    assert not module.state_dict()
    assert torch.equal(module(*maps()), hint_loss(*maps()))
