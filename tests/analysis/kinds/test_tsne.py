"""t-SNE and the separation of classes in a feature."""

import numpy as np
import pytest
import studies
import torch

from kd_plugins._errors import ConfigError
from kd_plugins.analysis.kinds.tsne import TSNE, chosen_rows, separation


def test_separation_by_hand():
    # Two classes at -1 and 1 on a line, each with a spread of 0.1.
    features = torch.tensor([[-1.1, 1.0], [-0.9, 1.0], [0.9, -1.0], [1.1, -1.0]])
    found = separation(features, torch.tensor([0, 0, 1, 1]))
    assert found["scatter_ratio"] == pytest.approx(4 * 0.01 / (4 * (1 + 1)))
    assert found["silhouette"] > 0.9
    alone = separation(features, torch.tensor([0, 1, 2, 3]))
    assert np.isnan(alone["silhouette"])  # every class has one image
    assert alone["scatter_ratio"] == 0


def test_an_image_is_not_its_own_neighbour():
    labels = torch.tensor([0, 1, 0, 1, 0, 1])
    features = torch.arange(6.0)[:, None].repeat(1, 2)
    features[:, 1] = 1
    assert separation(features, labels)["neighbour_accuracy"] == 0  # 3 of the 5 others are of the other class
    assert separation(torch.ones(6, 2), labels)["neighbour_accuracy"] <= 0.5


def test_the_same_number_of_every_class():
    labels = torch.cat([torch.zeros(3000), torch.ones(1500)]).long()
    rows = chosen_rows(labels, None, seed=0)
    assert labels[rows].bincount().tolist() == [1000, 1000]
    assert torch.equal(rows, chosen_rows(labels, None, seed=0))
    assert len(chosen_rows(torch.arange(40) % 10, 3, seed=1).unique()) == 12


def test_a_seed_repeats_and_the_table_does_not_depend_on_it():
    given = studies.study(studies.network(), student=studies.network())
    first = studies.drawn(TSNE(), given)
    again = studies.result(TSNE(), given)
    assert first == again
    given.seed = 1
    assert studies.result(TSNE(), given)["features"] == first["features"]
    assert first["perplexity"] == pytest.approx(19 / 3)
    assert any("perplexity lowered to 6.3" in line for line in TSNE().table(first))


def test_refuses():
    given = studies.study(studies.network(), data=studies.images(4, classes=1))
    with pytest.raises(ConfigError, match="tsne needs 3 images of 2 classes, found 4 of 1"):
        studies.result(TSNE(), given)
    with pytest.raises(ConfigError, match="--classes must be at most 5, the classes of the images, found 6"):
        studies.result(TSNE(classes=6), studies.study(studies.network()))
    with pytest.raises(ValueError, match="--classes must be a whole number of at least 2, found 1"):
        TSNE(classes=1)
