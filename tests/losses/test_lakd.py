import pytest
import torch
from feature_checks import golden_maps
from golden import Summary, assert_golden
from hypothesis import given, settings
from hypothesis import strategies as st

from kd_plugins.losses import LAKDLoss, cat_loss, lakd_loss, local_feature_loss
from kd_plugins.transforms import activation_map


def maps(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def value_and_gradient(student, teacher, **kwargs):
    student = student.clone().requires_grad_()
    value = local_feature_loss(student, teacher, **kwargs)
    return value.detach(), *torch.autograd.grad(value, student)


def test_known_value_and_gradient():
    student, teacher = torch.tensor([[[[1.0, 2.0]], [[0.0, 4.0]]]]), torch.tensor([[[[3.0, 2.0]], [[1.0, 1.0]]]])
    # differences 2, 0 and 1, -3: (4 + 0 + 1 + 9) / 4
    value, gradient = value_and_gradient(student, teacher)
    assert value == 3.5
    # 2 * (student - teacher) / 4
    assert gradient.tolist() == [[[[-1.0, 0.0]], [[-0.5, 1.5]]]]
    # attention 1 and 0.5: weights 2 and 1.5 of both channels: (16 + 0 + 4 + 20.25) / 4
    value, gradient = value_and_gradient(student, teacher, attention=torch.tensor([[[1.0, 0.5]]]))
    assert value == 10.0625
    # times 4 and 2.25
    assert gradient.tolist() == [[[[-4.0, 0.0]], [[-2.0, 3.375]]]]


def test_the_plain_loss_has_the_golden_value_of_a_hint():
    # HobbitLong/RepDistiller, commit b84f547, distiller_zoo/FitNet.py, HintLoss: the same mean squared difference.
    student, teacher = golden_maps(32, 32)
    gradient = Summary(
        l2=0.012044415452991883,
        wsum=-0.0002289732844776008,
        first=(-9.496345071860407e-06, 8.573495718652317e-05, 2.6750908807690507e-05, 0.0001065958929898124),
    )
    assert_golden(local_feature_loss(student, teacher), student, 0.5941982970030886, gradient)


def test_a_slow_loop_gives_the_same():
    student, teacher, attention = maps(3, 4, 5, 6), maps(3, 4, 5, 6, seed=1), maps(3, 5, 6, seed=2).abs()
    total = 0.0
    for i in range(3):
        for k in range(4):
            for h in range(5):
                for w in range(6):
                    weighted = (1 + attention[i, h, w]) * (teacher[i, k, h, w] - student[i, k, h, w])
                    total += weighted.item() ** 2 / (3 * 4 * 5 * 6)
    assert local_feature_loss(student, teacher, attention=attention).item() == pytest.approx(total, rel=1e-12)


def test_the_plain_loss_is_the_mean_squared_error_and_attention_of_zeros_is_the_plain_loss_to_the_bit():
    student, teacher = maps(3, 4, 5, 6, dtype=torch.float32), maps(3, 4, 5, 6, seed=1, dtype=torch.float32)
    plain = value_and_gradient(student, teacher)
    torch.testing.assert_close(plain[0], torch.nn.functional.mse_loss(student, teacher))
    for attention in (
        torch.zeros(3, 5, 6),
        torch.zeros(3, 1, 5, 6),
        torch.zeros(3, 2, 3),
        activation_map(teacher, mean_weight=0.0, max_weight=0.0),
    ):
        for found, expected in zip(value_and_gradient(student, teacher, attention=attention), plain, strict=True):
            assert torch.equal(found, expected)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.floats(0.1, 10))
def test_both_sides_by_a_factor_is_the_loss_by_its_square(seed, factor):
    student, teacher = maps(2, 3, 4, 4, seed=seed), maps(2, 3, 4, 4, seed=seed + 1)
    attention = activation_map(teacher)
    expected = factor**2 * local_feature_loss(student, teacher, attention=attention)
    torch.testing.assert_close(
        local_feature_loss(factor * student, factor * teacher, attention=activation_map(factor * teacher)), expected
    )


def test_gradients_of_both_orders():
    student, teacher = maps(2, 3, 4, 4).requires_grad_(), maps(2, 3, 4, 4, seed=1)
    attention = activation_map(teacher)
    assert torch.autograd.gradcheck(lambda s: local_feature_loss(s, teacher, attention=attention), student)
    assert torch.autograd.gradgradcheck(lambda s: local_feature_loss(s, teacher, attention=attention), student)
    large = maps(2, 3, 8, 8).requires_grad_()
    assert torch.autograd.gradcheck(lambda s: local_feature_loss(s, teacher), large)


def test_maps_of_two_sizes_are_pooled_to_the_smaller_and_attention_keeps_its_range():
    student, teacher = maps(2, 3, 8, 8), maps(2, 3, 4, 4, seed=1)
    pooled = torch.nn.functional.avg_pool2d(student, 2)
    assert torch.equal(local_feature_loss(student, teacher), local_feature_loss(pooled, teacher))
    # Resized, then scaled per sample: as the map of a resized activation.
    for size in ((8, 8), (3, 5), (2, 2)):
        attention = activation_map(maps(2, 6, *size, seed=2))
        if size == (8, 8):
            resized = torch.nn.functional.avg_pool2d(attention, 2)
        else:
            resized = torch.nn.functional.interpolate(attention[:, None], (4, 4), mode="bilinear")[:, 0]
        low, high = resized.amin((1, 2), keepdim=True), resized.amax((1, 2), keepdim=True)
        scaled = (resized - low) / (high - low)
        torch.testing.assert_close(
            local_feature_loss(pooled, teacher, attention=attention),
            local_feature_loss(pooled, teacher, attention=scaled),
        )


DEGENERATE = {
    "zeros": (torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)),
    "constants": (torch.full((2, 3, 4, 4), 1e3), torch.full((2, 3, 2, 2), -1e3)),
    "one position": (torch.ones(1, 3, 1, 1), torch.zeros(1, 3, 1, 1)),
    "bfloat16": (torch.ones(2, 3, 4, 4).bfloat16(), torch.zeros(2, 3, 4, 4).bfloat16()),
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_maps(name):
    student, teacher = DEGENERATE[name]
    for other in (teacher, torch.nn.functional.interpolate(teacher.float(), (7, 7))):
        value, gradient = value_and_gradient(student, teacher, attention=activation_map(other))
        assert value.isfinite()
        assert value.dtype == torch.float32
        assert gradient.isfinite().all()
        assert gradient.dtype == student.dtype


def test_the_teacher_and_the_attention_get_no_gradient():
    student, teacher = maps(2, 3, 4, 4).requires_grad_(), maps(2, 3, 4, 4, seed=1).requires_grad_()
    attention = maps(2, 4, 4, seed=2).requires_grad_()
    local_feature_loss(student, teacher, attention=attention).backward()
    assert student.grad is not None
    assert teacher.grad is None
    assert attention.grad is None


def test_full_precision_under_autocast():
    student, teacher = maps(2, 3, 4, 4).bfloat16(), maps(2, 3, 4, 4, seed=1).bfloat16()
    expected = local_feature_loss(student.float(), teacher.float(), attention=activation_map(teacher.float()))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = local_feature_loss(student, teacher, attention=activation_map(teacher))
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, expected)


def test_compiles_in_one_graph():
    student, teacher = maps(2, 3, 8, 8, dtype=torch.float32), maps(2, 3, 4, 4, seed=1, dtype=torch.float32)
    attention = activation_map(teacher)
    expected = value_and_gradient(student, teacher, attention=attention)
    torch.compiler.reset()
    compiled = torch.compile(local_feature_loss, fullgraph=True, backend="aot_eager")
    own = student.clone().requires_grad_()
    value = compiled(own, teacher, attention=attention)
    torch.testing.assert_close((value.detach(), *torch.autograd.grad(value, own)), expected)


@pytest.mark.parametrize(
    ("student", "teacher", "attention", "message"),
    [
        (
            (2, 3, 4, 4),
            (2, 5, 4, 4),
            None,
            r"same number of channels, found maps \(2, 3, 4, 4\) and \(2, 5, 4, 4\); set teacher_ch",
        ),
        ((2, 3, 4, 4), (3, 3, 4, 4), None, "the same samples, found 2 and 3"),
        ((2, 3), (2, 3), None, r"a map of shape \(B, c, H, W\), found \(2, 3\)"),
        ((2, 3, 4, 4), (2, 3, 4, 4), (2, 3, 4, 4), r"attention must have shape .* with B = 2, found \(2, 3, 4, 4\)"),
        ((2, 3, 4, 4), (2, 3, 4, 4), (4, 4), r"attention must have shape .* found \(4, 4\)"),
    ],
)
def test_refuses(student, teacher, attention, message):
    with pytest.raises(ValueError, match=message):
        local_feature_loss(
            torch.zeros(student), torch.zeros(teacher), attention=None if attention is None else torch.zeros(attention)
        )


def lakd_inputs(dtype=torch.float64):
    local = torch.tensor([0.5, 0.25, 1.0], dtype=dtype)
    return local, maps(4, 5, 2, 2, seed=2, dtype=dtype), maps(4, 5, 2, 2, seed=3, dtype=dtype)


@pytest.mark.parametrize("normalize", [True, False])
def test_the_whole_is_the_weighted_sum_of_its_parts(normalize):
    inputs = lakd_inputs()
    attention = cat_loss(*inputs[1:], size=2, normalize=normalize)
    value = lakd_loss(*inputs, alpha=0.3, beta=2.0, normalize=normalize)
    torch.testing.assert_close(value, 0.7 * attention + 2 * 1.75)
    assert torch.equal(LAKDLoss(alpha=0.3, beta=2.0, normalize=normalize)(*inputs), value)


def test_limits_of_the_weights():
    local, *both = lakd_inputs()
    assert lakd_loss(local, alpha=1.0, beta=2.0).item() == 3.5
    assert torch.equal(lakd_loss(local, *both, alpha=0.0, beta=0.0), cat_loss(*both))
    assert lakd_loss(local, both[0], both[0]).item() == pytest.approx(1.75)
    assert LAKDLoss(alpha=1.0).extra_tensors == 1


def test_every_local_loss_gets_beta_as_its_gradient():
    local, *both = lakd_inputs()
    local.requires_grad_()
    lakd_loss(local, *both, beta=3.0).backward()
    assert local.grad.tolist() == [3.0, 3.0, 3.0]


def test_the_whole_compiles_and_keeps_its_precision():
    inputs = lakd_inputs(torch.float32)
    expected = lakd_loss(*inputs)
    torch.compiler.reset()
    torch.testing.assert_close(torch.compile(LAKDLoss(), fullgraph=True, backend="aot_eager")(*inputs), expected)
    narrow = [x.bfloat16() for x in inputs]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = lakd_loss(*narrow)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, lakd_loss(*(x.float() for x in narrow)))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"alpha": -0.1}, "alpha must be a finite number of at least 0, found -0.1"),
        ({"alpha": 1.5}, "alpha must be at most 1, found 1.5"),
        ({"beta": -1}, "beta must be a finite number of at least 0"),
    ],
)
def test_hyperparameters_out_of_range(kwargs, message):
    with pytest.raises(ValueError, match=message):
        LAKDLoss(**kwargs)


def test_refuses_what_is_missing():
    local, *both = lakd_inputs()
    with pytest.raises(ValueError, match="needs student_maps and teacher_maps unless alpha is 1"):
        lakd_loss(local)
    with pytest.raises(ValueError, match=r"one number per module, shape \(n,\), found torch.float64 of shape \(\)"):
        lakd_loss(local.sum(), *both)
