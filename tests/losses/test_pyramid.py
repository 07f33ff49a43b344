import pytest
import torch
from feature_checks import DEGENERATE, maps
from loss_checks import assert_compiles, assert_full_precision_under_autocast, assert_sane
from torch.nn.functional import adaptive_avg_pool2d
from torchdistill.losses.mid_level import HierarchicalContextLoss

from kd_plugins.losses import PyramidLoss, pyramid_loss


def one_level(student, teacher, **keywords):
    return pyramid_loss([student], [teacher], **keywords)


def test_hand_computed_value():
    # Whole map: (1 + 0 + 0 + 9) / 4 = 2.5; pooled to 1: (-1 / 4 + 3 / 4)^2 = 0.25, at half weight; over 1 + 1 / 2.
    student = torch.tensor([[[[1.0, 0.0], [0.0, 3.0]]]])
    teacher = torch.tensor([[[[2.0, 0.0], [0.0, 0.0]]]])
    assert one_level(student, teacher).item() == pytest.approx((2.5 + 0.5 * 0.25) / 1.5)


def test_levels_are_summed_and_need_not_be_square():
    pairs = [maps((2, 3, 5, 9)), maps((2, 3, 3, 4)), maps((2, 3, 1, 2))]
    expected = 0.0
    for student, teacher in pairs:
        loss = total = 0.0
        for number, size in enumerate([None, *(size for size in (4, 2, 1) if size < student.shape[2])]):
            a, b = (x if size is None else adaptive_avg_pool2d(x, size) for x in (student, teacher))
            squares = [(p - q) ** 2 for p, q in zip(a.flatten().tolist(), b.flatten().tolist(), strict=True)]
            loss += sum(squares) / len(squares) / 2**number
            total += 1 / 2**number
        expected += loss / total
    assert pyramid_loss(*zip(*pairs, strict=True)).item() == pytest.approx(expected)


def test_one_level_is_torchdistills_loss():
    student, teacher = maps((2, 3, 8, 8))
    stock = HierarchicalContextLoss("s", "output", "t", "output", reduction="mean", output_sizes=[4, 2, 1])
    io = {"s": {"output": (student, None)}}, {"t": {"output": teacher}}
    torch.testing.assert_close(one_level(student, teacher), stock(*io))


def test_gradcheck():
    student, teacher = maps((1, 2, 3, 4))
    assert torch.autograd.gradcheck(lambda x: one_level(x, teacher), student)


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate(name):
    assert_sane(one_level, DEGENERATE[name], DEGENERATE[name].flip(0), largest_gradient=1e5)


def of_pair(student, teacher):
    """The loss of logits (B, C) as maps (1, 1, B, C)."""
    return one_level(student[None, None], teacher[None, None])


def test_autocast():
    assert_full_precision_under_autocast(of_pair)


def test_compiles():
    assert_compiles(of_pair)


def test_refusals():
    student, teacher = maps((1, 2, 3, 4))
    with pytest.raises(ValueError, match=r"level 0 must have one shape, found \(1, 2, 3, 4\) and \(1, 2, 3, 3\)"):
        one_level(student, teacher[..., :3])
    with pytest.raises(ValueError, match="one per level, found 1 and 0"):
        pyramid_loss([student], [])
    with pytest.raises(ValueError, match="output_sizes must be a whole number"):
        PyramidLoss(output_sizes=[0])
    assert repr(PyramidLoss(output_sizes=[2])) == "PyramidLoss(output_sizes=(2,))"
