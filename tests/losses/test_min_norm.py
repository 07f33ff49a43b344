import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from kd_plugins.losses import _min_norm as min_norm
from kd_plugins.losses._min_norm import min_norm_weights

sizes = st.integers(1, 6)
caps = st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.0])  # how far from 1 / M to 1
seeds = st.integers(0, 10_000)


def vectors(count, seed, *, length=8):
    """Vectors of very different lengths, which agree with each other more or less."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, length, generator=generator, dtype=torch.float64)
    x = x * torch.exp(torch.randn(count, 1, generator=generator, dtype=torch.float64))
    return x + seed % 4 * torch.randn(length, generator=generator, dtype=torch.float64)


def cap_of(count, share):
    return 1 / count + share * (1 - 1 / count)


def unit_gram(x):
    gram = x @ x.T
    return gram / gram.diagonal().mean()


def quadratic_programme(gram, cap):
    """The same minimum by scipy's sequential least squares."""
    gram, count = gram.numpy(), len(gram)
    found = minimize(
        lambda w: w @ gram @ w / 2,
        np.full(count, 1 / count),
        jac=lambda w: gram @ w,
        bounds=[(0, cap)] * count,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones(count)},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    return torch.from_numpy(found.x)


def length(gram, weights):
    return (weights @ gram @ weights).item()


def test_two_vectors_by_hand():
    # min (1 w)^2 + (2 (1 - w))^2: 2 w = 8 (1 - w), w = 0.8
    gram = torch.tensor([[1.0, 0.0], [0.0, 4.0]], dtype=torch.float64)
    assert min_norm_weights(gram).tolist() == pytest.approx([0.8, 0.2], abs=1e-5)
    assert min_norm_weights(gram, cap=0.6).tolist() == pytest.approx([0.6, 0.4])
    # The second is a multiple of the first: the shortest is the first alone.
    gram = torch.tensor([[1.0, 2.0], [2.0, 4.0]], dtype=torch.float64)
    assert min_norm_weights(gram).tolist() == pytest.approx([1.0, 0.0])


@pytest.mark.parametrize("count", [3, 4])
def test_steps_are_made_for_more_than_three_vectors_only(monkeypatch, count):
    monkeypatch.setattr(min_norm, "STEPS", 0)  # leaves equal weights
    weights = min_norm_weights(torch.diag(torch.tensor([1.0, 2.0, 4.0, 4.0])[:count]))
    expected = torch.tensor([4 / 7, 2 / 7, 1 / 7]) if count == 3 else torch.full((4,), 1 / 4)
    torch.testing.assert_close(weights, expected, atol=1e-5, rtol=0)


def test_three_orthogonal_vectors_by_hand():
    # Inversely proportional to the squared lengths 1, 2, 4: (4, 2, 1) / 7; capped at 1/2: 1/2, then (2, 1) / 3 of it
    gram = torch.diag(torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64))
    assert min_norm_weights(gram).tolist() == pytest.approx([4 / 7, 2 / 7, 1 / 7], abs=1e-5)
    assert min_norm_weights(gram, cap=0.5).tolist() == pytest.approx([1 / 2, 1 / 3, 1 / 6], abs=1e-5)


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 1.0])
def test_up_to_three_vectors_the_best_point_of_a_fine_grid_is_no_shorter(count, share):
    cap = cap_of(count, share)
    steps = torch.linspace(0, 1, 201, dtype=torch.float64)
    grid = torch.cartesian_prod(*[steps] * (count - 1)).reshape(-1, count - 1)
    grid = torch.cat([grid, 1 - grid.sum(1, keepdim=True)], dim=1)
    grid = grid[((grid >= 0) & (grid <= cap + 1e-12)).all(1)]
    for seed in range(12):
        gram = unit_gram(vectors(count, seed))
        ours = length(gram, min_norm_weights(gram, cap=cap))
        if len(grid):
            best = torch.linalg.vecdot(grid @ gram, grid).min().item()
            assert best - 0.05 <= ours <= best + 1e-5


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 3), caps, seeds)
def test_is_exact_up_to_three_vectors(count, share, seed):
    gram, cap = unit_gram(vectors(count, seed)), cap_of(count, share)
    assert length(gram, min_norm_weights(gram, cap=cap)) <= length(gram, quadratic_programme(gram, cap)) + 1e-5


@pytest.mark.parametrize("count", [2, 3])
def test_finds_the_weights_themselves(count):
    for seed in range(20):
        gram, cap = unit_gram(vectors(count, seed, length=100)), cap_of(count, seed % 5 / 4)
        torch.testing.assert_close(min_norm_weights(gram, cap=cap), quadratic_programme(gram, cap), atol=1e-4, rtol=0)


@settings(deadline=None, max_examples=40)
@given(st.integers(4, 6), caps, seeds)
def test_frank_wolfe_comes_close(count, share, seed):
    gram, cap = unit_gram(vectors(count, seed)), cap_of(count, share)
    assert length(gram, min_norm_weights(gram, cap=cap)) <= length(gram, quadratic_programme(gram, cap)) + 1e-3


@settings(deadline=None, max_examples=60)
@given(sizes, caps, seeds)
def test_weights_keep_their_bounds_and_are_no_longer_than_equal_ones_or_a_vector(count, share, seed):
    gram, cap = unit_gram(vectors(count, seed)), cap_of(count, share)
    weights = min_norm_weights(gram, cap=cap)
    assert weights.sum().item() == pytest.approx(1)
    assert weights.min() >= 0
    assert weights.max() <= cap + 1e-9
    allowed = [torch.full((count,), 1 / count, dtype=torch.float64)]
    allowed += list(torch.eye(count, dtype=torch.float64)) if cap == 1 else []
    assert all(length(gram, weights) <= length(gram, other) + 1e-5 for other in allowed)


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 3), caps, seeds, st.floats(1e-6, 1e6), st.randoms())
def test_knows_neither_the_order_of_vectors_nor_their_unit(count, share, seed, unit, random):
    gram, cap = unit_gram(vectors(count, seed)), cap_of(count, share)
    order = random.sample(range(count), count)
    weights = min_norm_weights(gram, cap=cap)
    torch.testing.assert_close(min_norm_weights(unit * gram[order][:, order], cap=cap), weights[order])


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("value", [0.0, 1.0, 1e-30, 1e30])
def test_vectors_that_are_alike_weigh_the_same(count, value):
    gram = torch.full((count, count), value)
    torch.testing.assert_close(min_norm_weights(gram), torch.full((count,), 1 / count))


@pytest.mark.parametrize("count", [3, 4])
def test_a_vector_of_zeros_is_the_shortest(count):
    gram = torch.ones(count, count)
    gram[0, :] = gram[:, 0] = 0
    assert min_norm_weights(gram).tolist() == pytest.approx([1.0] + [0.0] * (count - 1), abs=1e-5)
    assert min_norm_weights(gram, cap=0.5)[0].item() == pytest.approx(0.5)


def test_a_nan_is_seen():
    for count in (2, 3, 5):
        assert min_norm_weights(torch.full((count, count), math.nan)).isnan().all()


@pytest.mark.parametrize("count", [3, 4])
def test_compiles_into_one_graph_and_takes_no_gradient(count, monkeypatch):
    monkeypatch.setattr(min_norm, "STEPS", 3)  # the compiler unrolls them, and all are alike
    torch.compiler.reset()
    gram = unit_gram(vectors(count, 3)).float().requires_grad_()
    compiled = torch.compile(min_norm_weights, fullgraph=True, backend="aot_eager")
    for autocast in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            weights = compiled(gram, cap=0.6)
        assert not weights.requires_grad
        torch.testing.assert_close(weights, min_norm_weights(gram, cap=0.6))


def test_caps_may_be_rounded():
    gram = torch.diag(torch.tensor([1.0, 2.0, 4.0]))
    torch.testing.assert_close(min_norm_weights(gram, cap=0.333), torch.full((3,), 1 / 3))


@pytest.mark.parametrize(
    ("gram", "cap", "message"),
    [
        (torch.eye(3), 0.3, r"cap must be at least 1 / 3 = 0.3333, .* found 0.3"),
        (torch.eye(3), 1.5, r"cap must be at most 1, .* found 1.5"),
        (torch.eye(3), 0, r"cap must be a finite number above 0, found 0"),
        (torch.eye(1), 0.6, r"cap must be at least 1 / 1 = 1, "),
        (torch.zeros(2, 3), 1.0, r"gram must have shape \(M, M\), M >= 1, found \(2, 3\)"),
        (torch.zeros(0, 0), 1.0, r"gram must have shape"),
    ],
)
def test_refuses(gram, cap, message):
    with pytest.raises(ValueError, match=message):
        min_norm_weights(gram, cap=cap)
