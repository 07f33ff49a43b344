import numpy as np
import pytest
import torch
from made_up import random_stream
from sklearn.cluster import KMeans, MiniBatchKMeans

from kd_plugins.statistics import ArrayFeatures, StatisticsError, fit_centres
from kd_plugins.statistics.clustering import kmeans
from kd_plugins.statistics.clustering.kmeans import SklearnMiniBatch, TorchMiniBatch
from kd_plugins.statistics.clustering.seeding import seed_centres
from kd_plugins.statistics.streaming import shuffled_batches


def inertia(rows, centres):
    return torch.cdist(rows, centres).square().amin(1).sum().item()


def test_two_points_by_hand():
    # Two positions at 0 and two at 10: the sum of squares is 0 with centres 0 and 10, and at least 50 otherwise.
    maps = ArrayFeatures(torch.tensor([[[0.0], [10.0]], [[10.0], [0.0]]]))
    assert sorted(fit_centres(maps, count=2).flatten().tolist()) == [0.0, 10.0]


def test_is_about_as_good_as_a_full_k_means(monkeypatch):
    monkeypatch.setattr(kmeans, "BATCH", 128)
    stream = random_stream(images=400, positions=8, channels=3, classes=6, spread=0.5)
    rows = stream.features.flatten(0, 1)
    found = inertia(rows, fit_centres(stream, count=12))
    full = KMeans(12, n_init=2, random_state=0).fit(rows.numpy()).inertia_
    assert found <= 1.15 * full


def test_repeats_bit_for_bit_and_depends_on_the_seed():
    stream = random_stream(images=50)
    first = fit_centres(stream, count=10, seed=3)
    assert torch.equal(first, fit_centres(stream, count=10, seed=3))
    assert not torch.equal(first, fit_centres(stream, count=10, seed=4))


def test_the_torch_rule_is_scikit_learns():
    rows = random_stream(images=40, dtype=torch.float64).features.flatten(0, 1)
    ours = TorchMiniBatch(rows[:100], 6, seed=0, reassignment_ratio=0)
    theirs = MiniBatchKMeans(
        6, init=ours.centres.numpy(), n_init=1, reassignment_ratio=0, compute_labels=False, batch_size=60
    )
    for batch in rows.split(60):
        ours.update(batch)
        theirs.partial_fit(batch.numpy())
    np.testing.assert_allclose(ours.centres.numpy(), theirs.cluster_centers_, rtol=1e-10)


def test_the_torch_rule_gives_unpopular_centres_another_chance():
    rows = torch.cat([torch.zeros(500, 1), torch.full((500, 1), 5.0)])
    model = TorchMiniBatch(rows, 2, seed=0)
    model.centres = torch.tensor([[2.4], [99.0]])
    for _ in range(5):
        model.update(rows[torch.randperm(1000, generator=torch.Generator().manual_seed(0))])
    assert model.centres.max() <= 5.0
    assert inertia(rows, model.centres) < 500 * 25 / 2  # what one centre in the middle would leave


def test_both_rules_start_from_the_same_centres():
    rows = random_stream().features.flatten(0, 1)
    ours, theirs = TorchMiniBatch(rows, 6, seed=5), SklearnMiniBatch(rows, 6, seed=5)
    assert np.array_equal(ours.centres.numpy(), theirs.model.init)


def test_more_centres_than_positions():
    message = r"num_centres must be at most the number of positions, 24 \(4 images of 2 x 3\), found 25; lower"
    with pytest.raises(StatisticsError, match=message):
        fit_centres(random_stream(images=4), count=25)
    assert fit_centres(random_stream(images=4), count=24).shape == (24, 5)


def test_more_centres_than_different_positions_are_finite():
    centres = fit_centres(ArrayFeatures(torch.tensor([[[1.0], [1.0], [2.0]]])), count=3)
    assert torch.isfinite(centres).all()
    assert {1.0, 2.0} <= set(centres.flatten().tolist())


def test_a_budget_that_holds_too_few_positions():
    with pytest.raises(StatisticsError, match=r"needs a memory budget of at least 1 MiB, found 0 MiB; raise"):
        fit_centres(random_stream(images=2000), count=4, budget=1000)


def test_batches_hold_every_position_once_whatever_the_buffer():
    stream = random_stream(images=50, positions=7, channels=1)
    stream.features = torch.arange(350.0).reshape(50, 7, 1)
    for buffer in (20, 64, 350, 1000):
        batches = list(shuffled_batches(stream, batch_size=20, buffer_rows=buffer, seed=0, title=""))
        assert all(len(batch) == 20 for batch in batches[:-1])
        assert torch.equal(torch.cat(batches).flatten().sort().values, torch.arange(350.0))
    assert not torch.equal(torch.cat(batches).flatten(), torch.arange(350.0))


def test_first_centres_are_far_apart_and_of_their_group():
    points = torch.tensor([[[0.0], [0.1], [50.0], [100.0]], [[7.0], [7.0], [7.0], [-1.0]]])
    present = torch.ones(2, 4, dtype=torch.bool)
    present[1, 3] = False
    centres, alive = seed_centres(points, present, 3, generator=torch.Generator().manual_seed(0))
    assert sorted(centres[0].flatten().tolist()) in ([0.0, 50.0, 100.0], pytest.approx([0.1, 50.0, 100.0]))
    assert alive.tolist() == [[True] * 3, [True, False, False]]
    assert centres[1].flatten().tolist() == [7.0, 0.0, 0.0]
