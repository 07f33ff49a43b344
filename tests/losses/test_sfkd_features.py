import pytest
import torch
from feature_checks import (
    DEGENERATE,
    assert_compiles_on_maps,
    assert_maps_at_full_precision_under_autocast,
    maps,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_checks import assert_sane, value_and_gradient

from kd_plugins.losses import (
    SFKDAttentionLoss,
    SFKDHintLoss,
    attention_transfer_loss,
    hint_loss,
    sfkd_attention_loss,
    sfkd_hint_loss,
)

BASES = {sfkd_hint_loss: hint_loss, sfkd_attention_loss: attention_transfer_loss}
EACH = pytest.mark.parametrize("loss", BASES)


def test_hand_computed_hint():
    # Of 1, 3, -5, 2 the two largest are 3 and 2: (1 - 0)^2 + (1 - 3)^2 + (1 - 0)^2 + (1 - 2)^2 over 4
    teacher = torch.tensor([[[[1.0, 3.0]], [[-5.0, 2.0]]]])
    assert sfkd_hint_loss(torch.ones(1, 2, 1, 2), teacher, keep=2).item() == 1.75
    # In magnitude -5 and 3: 1 + 4 + 36 + 1 over 4
    assert sfkd_hint_loss(torch.ones(1, 2, 1, 2), teacher, keep=0.5, by="magnitude").item() == 10.5


def test_hand_computed_attention():
    # Of 3, 1, -5, 4 the teacher keeps 3 and 4: attention (9 / 2, 16 / 2) instead of (34 / 2, 17 / 2).
    # The student's is (0, 1): (9 / sqrt(337))^2 + (1 - 16 / sqrt(337))^2 over 2 = 1 - 16 / sqrt(337)
    teacher = torch.tensor([[[[3.0, 1.0]], [[-5.0, 4.0]]]])
    loss = sfkd_attention_loss(torch.tensor([[[[0.0, 2.0]]]]), teacher, keep=2)
    assert loss.item() == pytest.approx(1 - 16 / 337**0.5, rel=1e-5)


@EACH
@pytest.mark.parametrize("sizes", [((4, 5, 6, 6), (4, 5, 6, 6)), ((4, 5, 3, 3), (4, 5, 6, 6))])
def test_keeping_all_is_the_base_bit_for_bit(loss, sizes):
    student, teacher = maps(*sizes, dtype=torch.float32)
    ours = value_and_gradient(lambda s, t: loss(s, t, keep=1.0), student, teacher)
    base = value_and_gradient(BASES[loss], student, teacher)
    assert all(torch.equal(a, b) for a, b in zip(ours, base, strict=True))


@EACH
def test_the_mask_changes_the_loss_and_keeps_the_largest_of_each_sample(loss):
    student, teacher = maps((3, 4, 2, 2))
    kept = torch.zeros_like(teacher)
    for sample, entries in zip(kept, teacher, strict=True):
        order = sorted(range(16), key=lambda i: -entries.flatten()[i].item())
        for i in order[:5]:  # 0.3 * 16 = 4.8
            sample.view(-1)[i] = entries.flatten()[i]
    masked = loss(student, teacher, keep=0.3)
    assert torch.equal(masked, BASES[loss](student, kept))
    assert masked != BASES[loss](student, teacher)


@EACH
def test_entries_are_chosen_before_the_map_is_pooled(loss):
    # The only kept entry stands among zeros and is averaged with them.
    teacher = torch.zeros(1, 1, 4, 4)
    teacher[0, 0, 0, 0] = 8.0
    teacher[0, 0, 2, 2] = 7.0
    student = torch.tensor([[[[2.0, 0.0], [0.0, 0.0]]]])
    assert loss(student, teacher, keep=1) == 0
    assert loss(student, teacher, keep=2) > 0


@settings(deadline=None, max_examples=20)
@given(st.permutations(range(4)), st.permutations(range(5)), st.sampled_from(list(BASES)))
def test_knows_neither_the_order_of_samples_nor_of_channels(samples, channels, loss):
    student, teacher = maps()
    changed = loss(student[samples][:, channels], teacher[samples][:, channels], keep=0.4)
    torch.testing.assert_close(changed, loss(student, teacher, keep=0.4))


@EACH
def test_gradcheck(loss):
    student, teacher = maps((2, 2, 4, 4), (2, 2, 2, 2))
    assert torch.autograd.gradcheck(lambda f: loss(f, teacher, keep=0.5), student)


@EACH
@pytest.mark.parametrize("keep", [1, 0.3, 10**6])
@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate(loss, keep, name):
    features = DEGENERATE[name]
    assert_sane(lambda s, t: loss(s, t, keep=keep), features, features.flip(1), largest_gradient=2e4)


@EACH
def test_autocast(loss):
    assert_maps_at_full_precision_under_autocast(lambda s, t: loss(s, t, keep=0.5))


@EACH
def test_compiles(loss):
    assert_compiles_on_maps(lambda s, t: loss(s, t, keep=0.5))


@EACH
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"keep": 0.0}, "keep must be a fraction above 0 and at most 1.0, or a number"),
        ({"keep": 0.5, "by": "size"}, "by must be one of 'value', 'magnitude', found 'size'"),
    ],
)
def test_refuses_other_arguments(loss, arguments, message):
    module = {sfkd_hint_loss: SFKDHintLoss, sfkd_attention_loss: SFKDAttentionLoss}[loss]
    for build in (lambda: loss(*maps(), **arguments), lambda: module(**arguments)):
        with pytest.raises(ValueError, match=message):
            build()


@EACH
def test_refuses_what_is_no_map(loss):
    with pytest.raises(ValueError, match=r"teacher must be a map of shape \(B, c, H, W\), found \(2, 17, 8\)"):
        loss(torch.zeros(2, 8, 4, 4), torch.zeros(2, 17, 8), keep=0.5)


def test_other_channels_want_a_regressor():
    with pytest.raises(ValueError, match="RegressorStudent"):
        sfkd_hint_loss(*maps((2, 3, 4, 4), (2, 5, 4, 4)), keep=0.5)


def test_modules():
    module = SFKDHintLoss(keep=3, by="magnitude")
    assert repr(module) == "SFKDHintLoss(keep=3, by='magnitude')"
    assert torch.equal(module(*maps()), sfkd_hint_loss(*maps(), keep=3, by="magnitude"))
    module = SFKDAttentionLoss(keep=0.3, power=1, form="norm", beta=2.0)
    assert repr(module) == "SFKDAttentionLoss(keep=0.3, by='value', power=1, form='norm', beta=2.0, p=2)"
    expected = sfkd_attention_loss(*maps(), keep=0.3, power=1, form="norm", beta=2.0)
    assert torch.equal(module(*maps()), expected)
