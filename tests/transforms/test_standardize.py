import math
import statistics

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kd_plugins.transforms import standardize
from kd_plugins.transforms.standardize import GRADIENT_STD_FLOOR


def logits(batch=4, classes=6, *, scale=2.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 1 + scale * torch.randn(batch, classes, generator=generator, dtype=torch.float64)


def formula(x, *, temperature=1.0, correction=0, eps=1e-7):
    mean, std = x.mean(1, keepdim=True), x.std(1, correction=correction, keepdim=True)
    return (x - mean) / (std + eps) / temperature


def test_hand_computed_value():
    # mean 3, deviations -2 -1 3, population variance (4 + 1 + 9) / 3 = 14/3; halved by the temperature.
    z = standardize(torch.tensor([[1.0, 2.0, 6.0]]), temperature=2.0)
    std = math.sqrt(14 / 3)
    torch.testing.assert_close(z, torch.tensor([[-2.0, -1.0, 3.0]]) / std / 2)


def test_correction_divides_by_one_less():
    # Of [0, 3] the sum of squares is 4.5: sqrt(4.5 / 2) = 1.5 over C, sqrt(4.5) over C - 1.
    x = torch.tensor([[0.0, 3.0]])
    torch.testing.assert_close(standardize(x), torch.tensor([[-1.0, 1.0]]))
    torch.testing.assert_close(standardize(x, correction=1), torch.tensor([[-1.5, 1.5]]) / math.sqrt(4.5))


def test_temperatures_of_samples_divide_their_own_rows():
    x = torch.tensor([[0.0, 3.0], [5.0, 1.0]])  # both of deviation 1 and -1
    expected = torch.tensor([[-0.5, 0.5], [0.25, -0.25]])
    torch.testing.assert_close(standardize(x, temperature=torch.tensor([2.0, 4.0])), expected)


def test_slow_loop():
    x = logits()
    for row, expected in zip(standardize(x).tolist(), x.tolist(), strict=True):
        mean, std = statistics.fmean(expected), statistics.pstdev(expected)
        assert row == pytest.approx([(v - mean) / (std + 1e-7) for v in expected], rel=1e-9)


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0, 1e4])
@pytest.mark.parametrize("correction", [0, 1])
@pytest.mark.parametrize("eps", [1e-7, 1e-2])
def test_value_is_the_formulas_at_any_scale(scale, correction, eps):
    x = logits(scale=scale)
    z = standardize(x, temperature=3.0, correction=correction, eps=eps)
    torch.testing.assert_close(z, formula(x, temperature=3.0, correction=correction, eps=eps), rtol=1e-8, atol=1e-10)


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 999),
    classes=st.integers(2, 40),
    scale=st.floats(0.1, 1e3),
    shift=st.floats(-1e3, 1e3),
    tau=st.floats(0.5, 8),
)
def test_properties(seed, classes, scale, shift, tau):
    x = logits(3, classes, seed=seed)
    z = standardize(x, temperature=tau)
    assert z.mean(1).abs().max() < 1e-9
    # Adding eps to the deviation, as the method does, shortens a row by about eps over its deviation.
    rtol = 1e-6 + 2e-7 / (min(scale, 1.0) * x.std(1, correction=0).min().item())
    torch.testing.assert_close(z.std(1, correction=0), torch.full((3,), 1 / tau, dtype=z.dtype), rtol=rtol, atol=0)
    assert torch.equal(z.argsort(1), x.argsort(1))
    assert z.abs().max() <= math.sqrt(classes - 1) / tau * (1 + 1e-9)
    torch.testing.assert_close(standardize(shift + scale * x, temperature=tau), z, rtol=rtol, atol=1e-7)


@pytest.mark.parametrize("correction", [0, 1])
@pytest.mark.parametrize("eps", [1e-7, 1e-2])
def test_gradcheck(correction, eps):
    x = logits(3, 5).requires_grad_()
    tau = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x, tau: standardize(x, temperature=tau, correction=correction, eps=eps), (x, tau)
    )


def test_gradient_is_exact_down_to_the_floor_and_bounded_below():
    direction = logits(1, 8, seed=1)
    x = standardize(logits(1, 8))  # deviation 1
    for std in (1.0, 1.01 * GRADIENT_STD_FLOOR, 1e-3, 1e-9, 0.0):
        ours, theirs = ((std * x).requires_grad_() for _ in range(2))
        (standardize(ours) * direction).sum().backward()
        (formula(theirs) * direction).sum().backward()
        if std > GRADIENT_STD_FLOOR:
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-9, atol=0)
        else:
            assert ours.grad.norm() <= direction.norm() / GRADIENT_STD_FLOOR
            assert ours.grad.norm() > 0


@pytest.mark.parametrize(("temperature", "correction"), [(1.0, 0), (2.0, 0), (torch.tensor(2.0), 0), (1.0, 1)])
def test_gradient_of_a_constant_row_is_that_at_a_deviation_of_a_tenth(temperature, correction):
    # No class is off the mean, so of the gradient (g - mean g) / (std + eps) / tau is all there is; with a std of 0.1
    # and g = (2, 0, 1) it is (10, -10, 0) / tau. Over C - 1 = 2 the deviation is sqrt(3 / 2) times the one over 3.
    x = torch.full((1, 3), 7.0, dtype=torch.float64, requires_grad=True)
    z = standardize(x, temperature=temperature, correction=correction)
    (z * torch.tensor([[2.0, 0.0, 1.0]])).sum().backward()
    divisor = float(temperature) * (math.sqrt(3 / 2) if correction else 1)
    expected = torch.tensor([[10.0, -10.0, 0.0]], dtype=torch.float64) / divisor
    torch.testing.assert_close(x.grad, expected, rtol=2e-6, atol=1e-12)  # eps is a millionth of a tenth


@pytest.mark.parametrize("x", [torch.zeros(2, 5), torch.full((1, 3), 3333.3), 1e4 * torch.eye(3)])
def test_degenerate_rows_are_finite(x):
    x = x.requires_grad_()
    z = standardize(x)
    z.square().sum().backward()
    assert z.isfinite().all()
    assert x.grad.isfinite().all()


def test_half_precision_is_widened_under_autocast():
    x = logits().bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        z = standardize(x)
    assert z.dtype == torch.float32
    torch.testing.assert_close(z, formula(x.float()))
    assert standardize(logits()).dtype == torch.float64


def test_a_second_derivative_is_refused():
    x = logits().requires_grad_()
    (gradient,) = torch.autograd.grad(standardize(x).pow(3).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_compiles():
    torch.compiler.reset()
    compiled = torch.compile(standardize, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(logits()), standardize(logits()))


@pytest.mark.parametrize(
    ("x", "arguments", "message"),
    [
        (torch.zeros(3), {}, r"logits must have shape \(B, C\) .* found \(3,\)"),
        (torch.zeros(3, 1), {}, r"C >= 2, found \(3, 1\)"),
        (torch.zeros(3, 2), {"correction": 2}, "correction must be one of 0, 1, found 2"),
        (torch.zeros(3, 2), {"eps": 0}, "eps must be a finite number above 0, found 0"),
        (torch.zeros(3, 2), {"temperature": -1}, "temperature must be a finite number above 0, found -1"),
        (torch.zeros(3, 2), {"temperature": torch.ones(2)}, r"one per sample \(3\), found shape \(2,\)"),
    ],
)
def test_refuses(x, arguments, message):
    with pytest.raises(ValueError, match=message):
        standardize(x, **arguments)


def test_a_part_of_the_standardization():
    x = logits()
    assert torch.equal(standardize(x, centre=False, scale=False), x)
    torch.testing.assert_close(standardize(x, scale=False, temperature=2.0), (x - x.mean(1, keepdim=True)) / 2)
    expected = x / (x.std(1, correction=1, keepdim=True) + 1e-7)
    torch.testing.assert_close(standardize(x, centre=False, correction=1), expected)
    torch.testing.assert_close(standardize(x, centre=True, scale=True), formula(x))
    # The softmax does not see the mean.
    torch.testing.assert_close(standardize(x, centre=False).softmax(1), standardize(x).softmax(1))


@pytest.mark.parametrize("kwargs", [{"centre": False}, {"scale": False}])
def test_gradient_of_a_part(kwargs):
    x = logits().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: standardize(z, **kwargs), x)
    constant = torch.full((2, 3), 0.5, requires_grad=True)
    standardize(constant, **kwargs)[:, 0].sum().backward()
    assert constant.grad.abs().max() <= 1 / GRADIENT_STD_FLOOR
