import pytest
import torch
import torch.nn.functional as F
from feature_checks import (
    DEGENERATE,
    assert_compiles_on_maps,
    assert_maps_at_full_precision_under_autocast,
    golden_maps,
    maps,
)
from golden import Summary, assert_golden, wave
from loss_checks import assert_sane

from kd_plugins.losses import SimKDLoss, hint_loss, simkd_loss


def test_hand_computed_value():
    # Differences 2, 0, -1, 1 in 2 channels of 1 x 2 positions: (4 + 0 + 1 + 1) / 4
    student = torch.tensor([[[[2.0, 1.0]], [[0.0, 3.0]]]])
    teacher = torch.tensor([[[[0.0, 1.0]], [[1.0, 2.0]]]])
    assert simkd_loss(student, teacher).item() == 1.5


def projected(features):
    """The projector of the golden case: 1x1, 3x3 and 1x1 convolutions, each with batch statistics and a ReLU."""

    def step(x, weight, padding, norm):
        (weight_s, weight_q), (bias_s, bias_q) = norm
        channels = len(weight)
        scale = wave((channels,), a=0.1, s=weight_s, q=weight_q, c=1.0)
        shift = wave((channels,), a=0.1, s=bias_s, q=bias_q, c=0.0)
        x = F.conv2d(x, weight, padding=padding)
        return F.batch_norm(x, None, None, scale, shift, training=True).relu()

    x = step(features, wave((16, 16, 1, 1), a=0.2, s=0.4, q=11, c=0.0), 0, ((0.3, 32), (0.5, 54)))
    x = step(x, wave((16, 16, 3, 3), a=0.1, s=0.9, q=19, c=0.0), 1, ((1.2, 35), (2.0, 57)))
    return step(x, wave((32, 16, 1, 1), a=0.2, s=1.4, q=29, c=0.0), 0, ((2.1, 38), (3.5, 60)))


def test_golden():
    # DefangChen/SimKD, commit 2b389c3, models/util.py, SimKD; mean squared error of its two feature outputs.
    student, teacher = golden_maps()
    features = projected(student)
    Summary(
        l2=90.78982665384703,
        wsum=5.8328853700325425,
        first=(0.0, 0.0, 1.4743363115651622, 0.0, 0.0, 0.0, 0.0, 1.1936875542412047),
    ).matches(features)
    gradient = Summary(
        l2=0.009173056772110041,
        wsum=0.003426842475561517,
        first=(
            -4.473591427236894e-05,
            0.00013097518140116698,
            -3.9360129317438555e-05,
            -0.00013895575888059404,
        ),
    )
    assert_golden(simkd_loss(features, teacher), student, 1.583568047247278, gradient)


def test_with_equal_channels_it_is_the_hint():
    student, teacher = maps((2, 3, 8, 8), (2, 3, 4, 4))
    assert torch.equal(simkd_loss(student, teacher), hint_loss(student, teacher))


def test_does_not_know_the_order_of_samples():
    student, teacher = maps()
    torch.testing.assert_close(simkd_loss(student.flip(0), teacher.flip(0)), simkd_loss(student, teacher))


def test_gradcheck():
    student, teacher = maps((2, 2, 4, 4), (2, 2, 2, 2))
    assert torch.autograd.gradcheck(lambda f: simkd_loss(f, teacher), student)


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate(name):
    features = DEGENERATE[name]
    assert_sane(simkd_loss, features, features.flip(1), largest_gradient=2e4)


def test_autocast():
    assert_maps_at_full_precision_under_autocast(simkd_loss)


def test_compiles():
    assert_compiles_on_maps(simkd_loss)


def test_other_channels_name_the_model():
    with pytest.raises(
        ValueError, match=r"found 64 and 256 in maps \(2, 64, 8, 8\).*models.student_model.key: simkd_student"
    ):
        simkd_loss(torch.zeros(2, 64, 8, 8), torch.zeros(2, 256, 8, 8))


def test_module():
    assert torch.equal(SimKDLoss()(*maps()), simkd_loss(*maps()))
