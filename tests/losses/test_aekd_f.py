import pytest
import torch
from feature_checks import DEGENERATE, assert_compiles_on_maps, assert_maps_at_full_precision_under_autocast, maps
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_checks import assert_sane, value_and_gradient
from torch import nn

from kd_plugins.losses import AEKDFeatureLoss, aekd_feature_loss, hint_loss
from kd_plugins.losses._min_norm import min_norm_weights
from kd_plugins.transforms import keep_salient


def ensemble(count, *shape):
    """Student's map and teachers' of unequal scale."""
    shape = shape or (4, 5, 6, 6)
    student, _ = maps(shape)
    return student, [maps(shape, seed=m + 1)[1] * (1 + m) for m in range(count)]


def against_three(**kwargs):
    """As a loss of one student and one teacher, from which two others are made."""
    return lambda s, t: aekd_feature_loss(s, [t, t.flip(1), 0.5 * t.roll(1, 1)], **kwargs)


def regressed(channels=(7, 3, 5), *, seed=0, dtype=torch.float64):
    """The student's own map, regressors from it to each teacher's channels, and the teachers' maps."""
    torch.manual_seed(seed)
    shared, _ = maps((4, 6, 5, 5), dtype=dtype)
    regressors = nn.ModuleList([nn.Conv2d(6, c, 1, dtype=dtype) for c in channels])
    teachers = [maps((4, c, 5, 5), seed=c, dtype=dtype)[1] for c in channels]
    return shared, regressors, teachers


def test_hand_computed_value():
    # One position, one channel: student 1, teachers 2 and -2. Gradients -2 and 6: weights 3/4 and 1/4.
    student = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    teachers = [2 * student, -2 * student]
    assert aekd_feature_loss(student, teachers, cap=1.0).item() == pytest.approx(3 / 4 * 1 + 1 / 4 * 9, rel=1e-5)
    assert aekd_feature_loss(student, teachers).item() == pytest.approx(0.6 * 1 + 0.4 * 9)  # the cap


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("cap", [0.6, 1.0])
def test_at_one_map_it_is_the_sum_of_hints_by_the_weights_of_their_gradients(count, cap):
    student, teachers = ensemble(count)
    rows = torch.stack([value_and_gradient(hint_loss, student, t)[1].flatten() for t in teachers])
    weights = min_norm_weights(rows @ rows.T, cap=cap)
    expected = sum(w * hint_loss(student, t) for w, t in zip(weights, teachers, strict=True))
    value = aekd_feature_loss(student, teachers, cap=cap)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(torch.autograd.grad(value, student), torch.autograd.grad(expected, student))


def test_behind_regressors_the_gradients_are_those_at_the_map_that_they_read():
    shared, regressors, teachers = regressed()
    made = [r(shared) for r in regressors]
    hints = [hint_loss(s, t) for s, t in zip(made, teachers, strict=True)]
    rows = torch.stack([torch.autograd.grad(h, shared, retain_graph=True)[0].flatten() for h in hints])
    weights = min_norm_weights(rows @ rows.T, cap=0.6)
    assert weights.max() - weights.min() > 0.05
    value = aekd_feature_loss([shared, *made], teachers)
    torch.testing.assert_close(value, torch.dot(weights, torch.stack(hints)))
    value.backward()
    # What was traced for the weights has left nothing behind, and a regressor learns from its own hint.
    expected = torch.autograd.grad(hint_loss(regressors[0](shared), teachers[0]), regressors[0].weight)[0]
    torch.testing.assert_close(regressors[0].weight.grad, weights[0] * expected)
    torch.testing.assert_close(shared.grad.flatten(), weights @ rows)


def test_knows_no_numbering_of_a_teachers_channels():
    shared, regressors, teachers = regressed()
    expected = aekd_feature_loss([shared, *[r(shared) for r in regressors]], teachers)
    order = torch.tensor([4, 0, 6, 2, 1, 5, 3])
    made = [regressors[0](shared)[:, order], *[r(shared) for r in regressors[1:]]]
    torch.testing.assert_close(aekd_feature_loss([shared, *made], [teachers[0][:, order], *teachers[1:]]), expected)


@settings(deadline=None, max_examples=15)
@given(st.permutations(range(3)), st.permutations(range(5)), st.floats(-10, 10))
def test_knows_neither_the_order_of_teachers_and_channels_nor_a_common_shift(teachers_order, order, shift):
    student, teachers = ensemble(3)
    moved = [teachers[m][:, order] + shift for m in teachers_order]
    expected = aekd_feature_loss(student, teachers)
    torch.testing.assert_close(aekd_feature_loss(student[:, order] + shift, moved), expected)


def test_one_shared_regressor_or_one_for_each_that_does_nothing_are_the_same():
    student, teachers = ensemble(3)
    one = aekd_feature_loss(student, teachers)
    torch.testing.assert_close(aekd_feature_loss([student, *[student * 1 for _ in teachers]], teachers), one)


def test_with_one_teacher_it_is_the_hint_and_at_the_smallest_cap_the_mean_of_hints():
    student, teachers = ensemble(3)
    torch.testing.assert_close(aekd_feature_loss(student, teachers[:1], cap=1.0), hint_loss(student, teachers[0]))
    mean = sum(hint_loss(student, t) for t in teachers) / 3
    torch.testing.assert_close(aekd_feature_loss(student, teachers, cap=1 / 3), mean)


def test_sizes_are_matched_by_pooling():
    student, _ = maps((2, 3, 8, 8))
    teachers = [maps((2, 3, size, size), seed=size)[1] for size in (4, 8, 2)]
    small = [nn.functional.adaptive_avg_pool2d(x, 2) for x in (student, *teachers)]
    torch.testing.assert_close(aekd_feature_loss(student, teachers), aekd_feature_loss(small[0], small[1:]))
    # Behind regressors, each pair for itself.
    shared, regressors, teachers = regressed()
    teachers[1] = nn.functional.adaptive_avg_pool2d(teachers[1], 3)
    made = [r(shared) for r in regressors]
    by_hand = [made[0], nn.functional.adaptive_avg_pool2d(made[1], 3), made[2]]
    torch.testing.assert_close(
        aekd_feature_loss([shared, *made], teachers), aekd_feature_loss([shared, *by_hand], teachers)
    )


@pytest.mark.parametrize("behind_regressors", [False, True])
def test_each_teacher_is_masked_first(behind_regressors):
    shared, regressors, teachers = regressed((6, 6, 6))
    student = [shared, *[r(shared) for r in regressors]] if behind_regressors else shared
    masked = [keep_salient(t, keep=0.3) for t in teachers]
    value = aekd_feature_loss(student, teachers, keep=0.3)
    assert torch.equal(value, aekd_feature_loss(student, masked))
    assert (value - aekd_feature_loss(student, teachers)).abs() > 1e-3
    assert torch.equal(aekd_feature_loss(student, teachers, keep=1.0), aekd_feature_loss(student, teachers))


def test_gradcheck():
    student, teachers = ensemble(3, 2, 3, 2, 2)
    # Only fixed weights: by definition no gradient passes through the others.
    assert torch.autograd.gradcheck(lambda s: aekd_feature_loss(s, teachers, cap=1 / 3, keep=0.5), student)


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate(name):
    features = DEGENERATE[name]
    assert_sane(against_three(keep=0.5), features, features.flip(1), largest_gradient=1e4)


def test_weights_are_equal_where_nothing_is_differentiated():
    shared, regressors, teachers = regressed()
    with torch.no_grad():
        made = [r(shared) for r in regressors]
        value = aekd_feature_loss([shared, *made], teachers)
    torch.testing.assert_close(value, sum(hint_loss(s, t) for s, t in zip(made, teachers, strict=True)).detach() / 3)


def test_autocast():
    assert_maps_at_full_precision_under_autocast(against_three(keep=0.3))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_behind_regressors(dtype):
    shared, regressors, teachers = regressed(dtype=torch.float32)
    shared = shared.detach().to(dtype).requires_grad_()
    expected = aekd_feature_loss([shared, *[r(shared.float()) for r in regressors]], teachers)
    with torch.autocast("cpu", dtype=dtype):
        made = [r(shared) for r in regressors]
        value = aekd_feature_loss([shared, *made], [t.to(dtype) for t in teachers])
    assert made[0].dtype == dtype
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, expected, rtol=0.02, atol=0)  # the maps themselves are rounded
    value.backward()
    assert shared.grad.isfinite().all()
    assert shared.grad.abs().max() > 0


def test_compiles():
    assert_compiles_on_maps(against_three(keep=0.3))


def test_refuses():
    student, teachers = ensemble(2)
    with pytest.raises(ValueError, match=r"teachers must be a list .*found Tensor"):
        aekd_feature_loss(student, teachers[0])
    with pytest.raises(ValueError, match=r"teacher 2 of 2: .*same number of channels, found 5 and 4.*RegressorStudent"):
        aekd_feature_loss(student, [teachers[0], teachers[1][:, 1:]])
    with pytest.raises(ValueError, match=r"teacher 1 of 1: teacher must be a map of shape \(B, c, H, W\)"):
        aekd_feature_loss(student, [teachers[0].flatten(2)], cap=1.0)
    with pytest.raises(ValueError, match=r"or a list of 3: the regressors' input.*found 2"):
        aekd_feature_loss([student, student], teachers)
    with pytest.raises(ValueError, match="cap must be at least 1 / 2"):
        aekd_feature_loss(student, teachers, cap=0.2)
    other = student.detach().clone().requires_grad_()
    with pytest.raises(ValueError, match="the map for teacher 2 of 2 was not computed from it"):
        aekd_feature_loss([student, 2 * student, 2 * other], teachers)
    with pytest.raises(ValueError, match="the map for teacher 1 of 2 was not computed from it"):
        aekd_feature_loss([student.detach(), 2 * student, 2 * student], teachers)


def test_module():
    student, teachers = ensemble(2)
    module = AEKDFeatureLoss(cap=0.7, keep=9, by="magnitude")
    assert repr(module) == "AEKDFeatureLoss(cap=0.7, keep=9, by='magnitude')"
    expected = aekd_feature_loss(student, teachers, cap=0.7, keep=9, by="magnitude")
    assert torch.equal(module(student, teachers), expected)
    with pytest.raises(ValueError, match="cap must be at most 1"):
        AEKDFeatureLoss(cap=2)
    with pytest.raises(ValueError, match=r"found 0.0"):
        AEKDFeatureLoss(keep=0.0)
