import pytest
import torch
from made_up import blobs, cycled_labels, in_blocks, random_stream, readout
from sklearn.cluster import KMeans

from kd_plugins.statistics import (
    ArrayFeatures,
    cluster_classes,
    member_means,
    nearest_of_own_class,
    score_table,
)
from kd_plugins.statistics.clustering import subclasses
from kd_plugins.statistics.clustering.sampling import ClassSample


def slow_loops(stream, centres, alive):
    """Return counts, prototypes and score table as the formulas stand, position by position."""
    classes, count, channels = centres.shape
    members = [[[] for _ in range(count)] for _ in range(classes)]
    for features, label in zip(stream.features, stream.labels.tolist(), strict=True):
        for x in features:
            distances = (x - centres[label]).square().sum(1).masked_fill(~alive[label], float("inf"))
            members[label][int(distances.argmin())].append(x)
    flat = [torch.stack(m) if m else torch.zeros(0, channels, dtype=centres.dtype) for row in members for m in row]
    prototypes = torch.stack([m.mean(0) if len(m) else torch.zeros(channels, dtype=centres.dtype) for m in flat])
    empty = torch.tensor([not len(m) for m in flat])
    table = torch.zeros(len(flat), len(flat), dtype=centres.dtype)
    for k, own in enumerate(flat):
        for x in own:
            distances = (x - prototypes).square().sum(1).masked_fill(empty, float("inf"))
            table[k, int(distances.argmin())] += 1 / len(own)
    return torch.tensor([len(m) for m in flat]), prototypes, table


@pytest.mark.parametrize("step", [1, 7, 100])
def test_equals_the_slow_loops(step, monkeypatch):
    monkeypatch.setattr(subclasses, "SLICE_ENTRIES", 240)  # slices of 20 positions
    stream = random_stream(images=30, classes=4, channels=3, dtype=torch.float64)
    centres = torch.randn(4, 3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    alive = torch.ones(4, 3, dtype=torch.bool)
    alive[2, 1] = False
    counts, prototypes, table = slow_loops(stream, centres, alive)
    found, members = member_means(in_blocks(stream, step), centres, alive, title="")
    assert torch.equal(members.flatten(), counts)
    torch.testing.assert_close(found.flatten(0, 1), prototypes)
    torch.testing.assert_close(score_table(in_blocks(stream, step), centres, members, found), table)


def test_golden_values_of_the_reference_implementation():
    """Reference: adagorgun/letKD-framework, Classification.apply_sublass and apply_NNCenter, float64."""

    def wave(count, *, a, s, q, c=0.0):
        i = torch.arange(count)
        u = torch.sin(1.3 * i.double() + s) + 0.6 * torch.cos(0.7 * (i * i % 11).double() + 2 * s)
        return c + a * (u + 0.8 * ((37 * i * i + 101 * i + q) % 1009).double().div(1009).sub(0.5))

    features = blobs(250, 5, classes=4, amp=1.0, spread=0.9, s=0.4, q=3)
    scalings = wave(20, a=0.8, s=1.6, q=131).reshape(5, 4)[:, :3]
    rows = (features - wave(5, a=0.1, s=1.0, q=137)) @ scalings
    centres = wave(24, a=1.2, s=2.2, q=401).reshape(4, 2, 3)
    stream = ArrayFeatures(rows[:, None], cycled_labels(250, 4))
    alive = torch.ones(4, 2, dtype=torch.bool)
    own = nearest_of_own_class(stream.features, stream.labels, centres, alive).flatten()
    assert own[:24].tolist() == [7, 5, 3, 0, 7, 5, 2, 0, 7, 5, 2, 0, 7, 5, 2, 1, 7, 4, 2, 1, 7, 4, 2, 1]
    prototypes, counts = member_means(stream, centres, alive, title="")
    assert prototypes.norm().item() == pytest.approx(5.522720318964423, rel=1e-9)
    assert readout(prototypes) == pytest.approx(1.4611748927740265, rel=1e-9)
    table = score_table(stream, centres, counts, prototypes)
    assert table.norm().item() == pytest.approx(1.8832162678543078, rel=1e-9)
    assert readout(table) == pytest.approx(-0.3874300369032013, rel=1e-9)
    assert (1e6 * table[0]).round().tolist() == [270833, 62500, 62500, 41667, 0, 41667, 250000, 270833]
    assert (1e6 * table[7]).round().tolist() == [285714, 244898, 81633, 0, 0, 40816, 20408, 326531]


def test_by_hand():
    # Class 0 at 0, 1 and 9 with centres 0 and 9; class 1 at 2 with its one living centre 2.
    stream = ArrayFeatures(torch.tensor([[[0.0], [1.0], [9.0]], [[2.0], [2.0], [2.0]]]), torch.tensor([0, 1]))
    centres = torch.tensor([[[0.0], [9.0]], [[2.0], [0.0]]])
    alive = torch.tensor([[True, True], [True, False]])
    prototypes, counts = member_means(stream, centres, alive, title="")
    assert counts.tolist() == [[2, 1], [3, 0]]
    assert prototypes.flatten().tolist() == [0.5, 9.0, 2.0, 0.0]
    # 0 and 1 are nearest to prototype 0.5 (1 is 0.5 from it and 1 from prototype 2); the dead one is nobody's.
    assert score_table(stream, centres, counts, prototypes).tolist() == [
        [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0],
    ]  # fmt: skip


def test_rows_are_histograms_and_empty_ones_are_zero():
    stream = random_stream(classes=3)
    stream.labels[stream.labels == 1] = 0
    centres = torch.randn(4, 2, 5, generator=torch.Generator().manual_seed(0))  # classes 1 and 3 have no position
    prototypes, counts = member_means(stream, centres, torch.ones(4, 2, dtype=torch.bool), title="")
    assert counts[[1, 3]].sum() == 0
    table = score_table(stream, centres, counts, prototypes)
    torch.testing.assert_close(table.sum(1), (counts.flatten() > 0).float())
    assert table[:, counts.flatten() == 0].sum() == 0


@pytest.mark.parametrize("seed", [0, 1])
def test_clusters_of_a_class_are_as_good_as_scikit_learns(seed):
    points = torch.randn(3, 200, 4, generator=torch.Generator().manual_seed(seed)) * torch.tensor([1.0, 2.0, 0.5, 1.0])
    present = torch.ones(3, 200, dtype=torch.bool)
    present[1, 90:] = False
    centres, alive = cluster_classes(points, present, subclasses=5, seed=seed)
    assert alive.all()
    for c in range(3):
        rows = points[c, present[c]]
        found = torch.cdist(rows, centres[c]).square().amin(1).sum().item()
        assert found <= 1.1 * KMeans(5, n_init=3, random_state=0).fit(rows.numpy()).inertia_
        nearest = torch.cdist(rows, centres[c]).argmin(1)
        for s in range(5):  # nothing is left to do: each centre is the mean of its members
            torch.testing.assert_close(rows[nearest == s].mean(0), centres[c, s], rtol=1e-4, atol=1e-5)


def test_classes_with_fewer_positions_than_sub_classes():
    points = torch.zeros(3, 4, 2)
    points[0] = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 7.0], [0.0, 7.0]])
    points[1, 0] = 5.0
    present = torch.tensor([[True] * 4, [True, False, False, False], [False] * 4])
    centres, alive = cluster_classes(points, present, subclasses=4, seed=0)
    assert alive.sum(1).tolist() == [3, 1, 0]
    assert torch.equal(centres[~alive], torch.zeros(8, 2))
    assert centres[1, 0].tolist() == [5.0, 5.0]


def test_another_step_of_k_means_never_does_harm():
    stream = random_stream(images=200, classes=3)
    sample = ClassSample(3, 40, seed=0)
    for block in stream.blocks(""):
        sample.add(block)
    centres, alive = cluster_classes(*sample.result(), subclasses=4, seed=0)
    better, counts = member_means(stream, centres, alive, title="")

    def inertia(centres, alive):
        own = nearest_of_own_class(stream.features, stream.labels, centres, alive)
        return (stream.features - centres.flatten(0, 1)[own]).square().sum().item()

    assert inertia(better, counts > 0) <= inertia(centres, alive)


def test_a_sample_is_uniform_in_every_class_and_repeats():
    images, positions = 300, 5
    features = torch.arange(float(images * positions)).reshape(images, positions, 1)
    labels = (torch.arange(images) >= 290).long()  # ten images of class 1
    stream = ArrayFeatures(features, labels)
    samples = []
    for step in (300, 300, 7):
        sample = ClassSample(3, 60, seed=0)
        for block in in_blocks(stream, step).blocks(""):
            sample.add(block)
        samples.append(sample.result())
    points, present = samples[0]
    assert present.sum(1).tolist() == [60, 50, 0]
    chosen = points[0, :, 0]
    assert len(set(chosen.tolist())) == 60
    assert chosen.max() < 1450
    assert chosen.mean().item() == pytest.approx(1450 / 2, abs=4 * 1450 / (12 * 60) ** 0.5)
    assert sorted(points[1, present[1], 0].tolist()) == list(range(1450, 1500))
    for other in samples[1:]:
        assert torch.equal(points, other[0])
