import warnings

import numpy as np
import pytest
import torch
from made_up import blobs, cycled_labels, in_blocks, random_stream, readout
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from kd_plugins.statistics import ArrayFeatures, Block, ClassMoments, StatisticsError, discriminants


def moments_of(stream, classes, *, step=7):
    moments = ClassMoments(classes)
    for block in in_blocks(stream, step).blocks(""):
        moments.add(block)
    return moments


def rows_and_labels(stream):
    labels = stream.labels.repeat_interleave(stream.shape.positions)
    return stream.features.flatten(0, 1).double().numpy(), labels.numpy()


def projected(rows, projection):
    return rows @ projection.weight.double().numpy().T + projection.bias.double().numpy()


def assert_same_up_to_sign(found, expected, tolerance=1e-5):
    assert found.shape == expected.shape
    signs = np.sign((found * expected).sum(0))
    assert np.abs(found * signs - expected).max() <= tolerance * np.abs(expected).max()


def sklearn_transform(rows, labels, components):
    return LinearDiscriminantAnalysis(solver="svd", n_components=components).fit(rows, labels).transform(rows)


@pytest.mark.parametrize(("channels", "classes", "components"), [(5, 4, None), (5, 4, 2), (3, 10, None), (8, 3, 1)])
def test_equals_scikit_learn_on_the_same_data(channels, classes, components):
    stream = random_stream(channels=channels, classes=classes)
    rows, labels = rows_and_labels(stream)
    projection = discriminants(moments_of(stream, classes), components=components)
    assert_same_up_to_sign(projected(rows, projection), sklearn_transform(rows, labels, components))


def test_equals_scikit_learn_where_the_mean_is_far_from_zero_and_scales_differ():
    stream = random_stream(dtype=torch.float64)
    stream.features = stream.features * torch.tensor([1.0, 1e-3, 1e2, 1.0, 10.0]) + 500.0
    rows, labels = rows_and_labels(stream)
    moments = moments_of(stream, 4)
    weight = discriminants(moments).weight.double()
    middle = torch.from_numpy(rows.mean(0))
    found = (torch.from_numpy(rows) - middle) @ weight.T
    assert_same_up_to_sign(found.numpy(), sklearn_transform(rows, labels, None))


def test_is_independent_of_how_the_data_come():
    stream = random_stream()
    whole, pieces = (discriminants(moments_of(stream, 4, step=step)) for step in (60, 1))
    torch.testing.assert_close(whole.weight, pieces.weight, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(whole.bias, pieces.bias, rtol=1e-5, atol=1e-5)


def test_golden_values_of_the_reference_implementation():
    """Reference: adagorgun/letKD-framework, subclass_utils.py, apply_LDA; scikit-learn 1.9.1, within divisor N."""
    features = blobs(250, 5, classes=4, amp=1.0, spread=0.9, s=0.4, q=3)
    stream = ArrayFeatures(features[:, None], cycled_labels(250, 4))
    projection = discriminants(moments_of(stream, 4), components=3)
    weight = projection.weight.double()
    scalings = weight.T.abs()
    assert scalings.norm().item() == pytest.approx(4.02633938496763, rel=1e-8)
    assert readout(scalings) == pytest.approx(-0.8079673299316068, rel=1e-5)
    first = [1.428967414407374, 0.16236891902228603, 0.7526967073077503, 0.3129644735866204]
    assert scalings.flatten()[:4].tolist() == pytest.approx(first, rel=1e-5)
    transformed = features[:40] @ weight.T + projection.bias.double()
    assert transformed.abs().norm().item() == pytest.approx(16.933016575730253, rel=1e-6)
    distances = torch.cdist(transformed, transformed).square()
    assert readout(distances) == pytest.approx(-179.21044209452776, rel=1e-6)
    assert distances[0, 1:4].tolist() == pytest.approx([24.287859201, 16.3385053509, 0.519649384631], rel=1e-5)


def test_two_classes_by_hand():
    # Class 0 at 0 and 2, class 1 at 10 and 12: each has variance 1 about its mean, so that y = +-(x - 6).
    stream = ArrayFeatures(torch.tensor([[[0.0], [2.0]], [[10.0], [12.0]]]), torch.tensor([0, 1]))
    projection = discriminants(moments_of(stream, 2))
    assert projection.weight.abs().item() == pytest.approx(1.0)
    assert (projection.bias / projection.weight[:, 0]).item() == pytest.approx(-6.0)


def test_dead_channels_and_missing_classes_are_left_out():
    stream = random_stream(classes=4)
    stream.features[..., 2] = 3.7
    stream.labels[stream.labels == 1] = 0
    rows, labels = rows_and_labels(stream)
    projection = discriminants(moments_of(stream, 6))  # classes 1, 4 and 5 have no position
    assert torch.equal(projection.weight[:, 2], torch.zeros(2))
    kept = np.delete(rows, 2, axis=1)
    assert_same_up_to_sign(projected(rows, projection), sklearn_transform(kept, labels, None))


def test_a_channel_that_is_constant_in_every_class_does_not_swamp_the_others():
    stream = random_stream(classes=3)
    stream.features[..., 0] = stream.labels[:, None] / 3
    projection = discriminants(moments_of(stream, 3))
    assert torch.isfinite(projection.weight).all()
    assert projection.weight.abs().max() < 100


def test_collinear_channels_as_in_scikit_learn():
    stream = random_stream(classes=4, channels=4, dtype=torch.float64)
    stream.features = torch.cat([stream.features, stream.features[..., :1] + stream.features[..., 1:2]], 2)
    rows, labels = rows_and_labels(stream)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = sklearn_transform(rows, labels, None)
    assert_same_up_to_sign(projected(rows, discriminants(moments_of(stream, 4))), expected)


def test_principal_components_first():
    stream = random_stream(channels=8, classes=4)
    rows, labels = rows_and_labels(stream)
    reduced = PCA(4, svd_solver="full").fit_transform(rows)
    expected = sklearn_transform(reduced, labels, 2)
    projection = discriminants(moments_of(stream, 4), components=2, pca=4)
    assert_same_up_to_sign(projected(rows, projection), expected)


def test_principal_components_of_no_variance_do_no_harm():
    stream = random_stream(channels=4, classes=3)
    stream.features = torch.cat([stream.features, stream.features[..., :2]], 2)
    rows, labels = rows_and_labels(stream)
    projection = discriminants(moments_of(stream, 3), pca=6)
    assert_same_up_to_sign(projected(rows, projection), sklearn_transform(rows[:, :4], labels, None))


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"components": 4}, r"components must lie in 1\.\.3 \(4 classes have positions, 5 channels\), found 4"),
        ({"pca": 6}, r"pca must lie in 1\.\.5, the channels of the layer, found 6"),
    ],
)
def test_too_many_components(keywords, message):
    with pytest.raises(StatisticsError, match=message):
        discriminants(moments_of(random_stream(), 4), **keywords)


def test_what_has_no_discriminants():
    stream = random_stream()
    stream.labels[:] = 2
    with pytest.raises(StatisticsError, match="at least 2 classes, found 1"):
        discriminants(moments_of(stream, 4))
    constant = ArrayFeatures(torch.ones(4, 2, 3), torch.tensor([0, 1, 0, 1]))
    with pytest.raises(StatisticsError, match="do not vary inside the classes"):
        discriminants(moments_of(constant, 2))
    alike = ArrayFeatures(torch.tensor([[[0.0], [2.0]]]).expand(2, 2, 1), torch.tensor([0, 1]))
    with pytest.raises(StatisticsError, match="the same in all classes"):
        discriminants(moments_of(alike, 2))


def test_labels_are_needed():
    with pytest.raises(StatisticsError, match="need a class index with each image"):
        ClassMoments(2).add(Block(torch.zeros(1, 2, 3), None))
