import math

import pytest
import torch
from golden import Summary, assert_golden, wave
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_checks import assert_compiles, assert_full_precision_under_autocast, assert_sane, pair, value_and_gradient
from torchdistill.losses.mid_level import RKDLoss

from kd_plugins.losses import RelationalLoss, relational_loss


def huber(x):
    return x * x / 2 if abs(x) < 1 else abs(x) - 0.5


def loop_reference(student, teacher):
    """Return the sums over all pairs and all triples, sample by sample."""
    batch = len(student)
    distances, cosines = [], []
    for x in (student.tolist(), teacher.tolist()):
        d = [[math.dist(a, b) for b in x] for a in x]
        apart = [value for row in d for value in row if value > 0]
        mean = sum(apart) / len(apart)
        distances.append([value / mean for row in d for value in row])
        cosines.append(
            [
                sum((p - o) * (q - o) for o, p, q in zip(x[i], x[j], x[k], strict=True)) / (d[i][j] * d[i][k])
                if d[i][j] and d[i][k]
                else 0.0
                for i in range(batch)
                for j in range(batch)
                for k in range(batch)
            ]
        )
    by_distance, by_angle = (
        sum(huber(s - t) for s, t in zip(*sides, strict=True)) / len(sides[0]) for sides in (distances, cosines)
    )
    return 25 * by_distance + 50 * by_angle


def stock(student, teacher):
    loss = RKDLoss("f", "f", dist_factor=25.0, angle_factor=50.0, reduction="mean")
    return loss({"f": {"output": student}}, {"f": {"output": teacher}})


def test_hand_computed_value():
    # Points 0, 1, 3: distances 1, 2, 3 with mean 2; points 0, 2, 3: distances 2, 1, 3 with mean 2. Over the mean they
    # differ by 1/2, 1/2 and 0, each pair twice: 4 * (1/8) / 9. The order on the line is the same: no angle differs.
    student, teacher = (torch.tensor([[0.0], [x], [3.0]], dtype=torch.float64) for x in (1.0, 2.0))
    assert relational_loss(student, teacher, distance_weight=9.0).item() == pytest.approx(0.5)


def test_golden():
    # megvii-research/mdistiller, commit a08d46f, mdistiller/distillers/RKD.py, rkd_loss.
    student = wave((8, 16), a=1.0, s=0.2, q=5, c=0.0).requires_grad_()
    teacher = wave((8, 32), a=1.2, s=0.8, q=77, c=0.0)
    gradient = Summary(
        l2=1.0723765931484026,
        wsum=0.3957544901620248,
        first=(-0.01897167357591728, 0.018226203827480227, 0.10915418837192593, -0.1242063035895355),
    )
    assert_golden(relational_loss(student, teacher), student, 3.6262407703422266, gradient)
    assert_golden(stock(student, teacher), student, 3.6262407703422266, gradient)


def test_slow_loop():
    student, teacher = pair(5, 4)
    assert relational_loss(student, teacher).item() == pytest.approx(loop_reference(student, teacher))


@settings(deadline=None, max_examples=20)
@given(st.permutations(range(8)), st.floats(0.1, 10), st.floats(-5, 5))
def test_knows_neither_order_nor_scale_nor_place(order, scale, shift):
    student, teacher = pair()
    expected = relational_loss(student, teacher)
    torch.testing.assert_close(relational_loss(student[order], teacher[order]), expected)
    torch.testing.assert_close(relational_loss(scale * student + shift, teacher), expected)


def test_gradients_of_both_orders():
    student, teacher = pair(4, 3)
    assert torch.autograd.gradcheck(lambda z: relational_loss(z, teacher), student)
    assert torch.autograd.gradgradcheck(lambda z: relational_loss(z, teacher), student)


def test_is_zero_at_the_teacher():
    _, teacher = pair(dtype=torch.float32)
    assert relational_loss(teacher, teacher) == 0


@pytest.mark.parametrize(
    "features",
    [
        torch.zeros(4, 6),
        torch.ones(1, 6),
        torch.tensor([[1.0, 2.0], [1.0, 2.0], [3.0, 1.0], [3.0, 1.0]]),
        torch.tensor([[1.0, 2.0], [1.0, 2.0 + 1e-6], [3.0, 1.0]]),
        1e4 * torch.eye(4),
        torch.arange(24.0).reshape(4, 6).bfloat16(),
    ],
    ids=["zeros", "one sample", "duplicates", "near duplicates", "huge", "bfloat16"],
)
def test_degenerate(features):
    assert_sane(relational_loss, features, features.flip(0) + torch.randn(features.shape), largest_gradient=1e3)


def test_duplicates_where_the_stock_loss_explodes():
    student = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    student[1] = student[0]
    teacher = torch.randn(4, 6, generator=torch.Generator().manual_seed(1))
    _, theirs = value_and_gradient(stock, student, teacher)
    _, ours = value_and_gradient(relational_loss, student, teacher)
    assert not theirs.abs().max() < 1e4
    assert ours.abs().max() < 1e2
    assert stock(student[:1], teacher[:1]).isnan()
    assert relational_loss(student[:1], teacher[:1]) == 0


def test_autocast():
    assert_full_precision_under_autocast(relational_loss)


def test_compiles():
    assert_compiles(relational_loss)


def test_maps_are_vectors():
    student, teacher = pair(3, 12)
    maps = student.reshape(3, 3, 2, 2)
    assert relational_loss(maps, teacher) == relational_loss(student, teacher)


def test_refuses():
    with pytest.raises(ValueError, match="must hold features of the same samples, found 2 and 3"):
        relational_loss(torch.zeros(2, 3), torch.zeros(3, 3))
    with pytest.raises(ValueError, match="angle_weight must be a finite number of at least 0, found -1"):
        RelationalLoss(angle_weight=-1)


def test_module():
    module = RelationalLoss(distance_weight=1.0, angle_weight=2.0)
    assert repr(module) == "RelationalLoss(distance_weight=1.0, angle_weight=2.0)"
    assert module(*pair()) == relational_loss(*pair(), distance_weight=1.0, angle_weight=2.0)
