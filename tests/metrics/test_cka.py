import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kd_plugins.metrics import MinibatchCKA, linear_cka
from kd_plugins.metrics.cka import gram


def features(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slow_unbiased_hsic(x, y):
    """The U-statistic that it is: a mean over all quadruples of different samples."""
    n = len(x)
    k, m = (x @ x.T).tolist(), (y @ y.T).tolist()
    total = count = 0
    for i in range(n):
        for j in range(n):
            for q in range(n):
                for r in range(n):
                    if len({i, j, q, r}) == 4:
                        total += k[i][j] * (m[i][j] + m[q][r] - 2 * m[i][q])
                        count += 1
    return total / count


def test_a_known_value():
    # Centred already: X'X = diag(2, 0), Y'Y = [[2, 2], [2, 2]], Y'X = [[2, 0], [2, 0]]: 8 / (2 * 4).
    x, y = torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), torch.tensor([[1.0, 1.0], [-1.0, -1.0]])
    assert linear_cka(x, y).item() == pytest.approx(1)
    # X'X = diag(2, 2), Y'X = [[2, 0]]: 4 / (sqrt 8 * 2).
    x, y = torch.tensor([[1.0, 1.0], [-1.0, 1.0], [0.0, -2.0]]), torch.tensor([[1.0], [-1.0], [0.0]])
    # The second column has squares 1 + 1 + 4 = 6: ||X'X|| = sqrt(4 + 36), ||Y'Y|| = 2.
    assert linear_cka(x, y).item() == pytest.approx(4 / (40**0.5 * 2))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.floats(0.1, 10), st.floats(-5, 5))
def test_rotations_a_factor_and_a_shift_change_nothing(seed, factor, shift):
    x, y = features(9, 4, seed=seed), features(9, 6, seed=seed + 1)
    rotation = torch.linalg.qr(features(4, 4, seed=seed + 2))[0]
    torch.testing.assert_close(linear_cka(factor * x @ rotation + shift, y), linear_cka(x, y))
    torch.testing.assert_close(linear_cka(y, x), linear_cka(x, y))
    assert 0 <= linear_cka(x, y) <= 1


def test_products_of_features_give_the_same():
    x, y = features(20, 5), features(20, 3, seed=1)
    a, b = x - x.mean(0), y - y.mean(0)
    expected = (b.T @ a).norm() ** 2 / ((a.T @ a).norm() * (b.T @ b).norm())
    torch.testing.assert_close(linear_cka(x, y), expected)
    maps = features(6, 2, 3, 3)
    torch.testing.assert_close(linear_cka(maps, maps.flatten(1)), torch.tensor(1.0, dtype=torch.float64))


def test_a_minibatch_estimate_is_the_ratio_of_summed_u_statistics():
    batches = [(features(6, 3, seed=s), features(6, 2, seed=s + 10)) for s in (0, 1)]
    cka = MinibatchCKA()
    for x, y in batches:
        cka.update([gram(x)], [gram(y)])
    both, own, other = (
        sum(slow_unbiased_hsic(*pair) for pair in pairs)
        for pairs in (batches, [(x, x) for x, _ in batches], [(y, y) for _, y in batches])
    )
    assert cka.value().item() == pytest.approx(both / (own * other) ** 0.5, rel=1e-9)


def test_batches_give_what_all_samples_give():
    hidden = features(2048, 4)
    x, y = hidden @ features(4, 8, seed=1) + 0.3 * features(2048, 8, seed=2), hidden @ features(4, 6, seed=3)
    whole = linear_cka(x, y).item()
    unbiased = MinibatchCKA()
    for a, b in zip(x.split(32), y.split(32), strict=True):
        unbiased.update([gram(a)], [gram(b)])
    assert unbiased.value().item() == pytest.approx(whole, abs=0.01)
    independent = MinibatchCKA()
    for a, b in zip(x.split(32), features(2048, 64, seed=9).split(32), strict=True):
        independent.update([gram(a)], [gram(b)])
    assert abs(independent.value().item()) < 0.03  # the biased one sees a likeness in 32 samples
    assert linear_cka(x[:32], features(32, 64, seed=9)) > 0.15


def test_a_matrix_over_layers():
    layers, others = [features(8, 3, seed=s) for s in (0, 1)], [features(8, 5, seed=s) for s in (1, 2, 3)]
    cka = MinibatchCKA()
    cka.update([gram(x) for x in layers], [gram(y) for y in others])
    for i, x in enumerate(layers):
        for j, y in enumerate(others):
            alone = MinibatchCKA()
            alone.update([gram(x)], [gram(y)])
            torch.testing.assert_close(alone.value()[0, 0], cka.value()[i, j])


def test_degenerate_features():
    assert linear_cka(torch.zeros(5, 3), torch.randn(5, 3)).isnan()
    cka = MinibatchCKA()
    cka.update([gram(torch.randn(3, 2))], [gram(torch.randn(3, 2))])
    with pytest.raises(ValueError, match="a batch of at least 4 samples"):
        cka.value()
    cka.update([gram(torch.ones(5, 2))], [gram(torch.randn(5, 2))])
    assert cka.value().isnan().all()
    half = torch.randn(8, 6).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert linear_cka(half, half).item() == pytest.approx(1, abs=1e-5)


def test_refuses():
    with pytest.raises(ValueError, match="at least two samples and equal numbers of both, found 3 and 4"):
        linear_cka(torch.zeros(3, 2), torch.zeros(4, 2))
    with pytest.raises(ValueError, match=r"shape \(n, ...\), found torch.int64 of shape \(3, 2\)"):
        linear_cka(torch.zeros(3, 2).long(), torch.zeros(3, 2))
    with pytest.raises(ValueError, match="every layer must have the same samples"):
        MinibatchCKA().update([torch.zeros(4, 4)], [torch.zeros(5, 5)])
