"""Linear probes on layers."""

import pytest
import studies
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch.utils.data import DataLoader

from kd_plugins._errors import ConfigError
from kd_plugins.analysis.kinds.probe import Probe, fitted_accuracy
from kd_plugins.models.letkd import add_kd_layers


def with_training_images(given, train):
    given.built = {"datasets": {"train": train}, "train": {"train_data_loader": {"dataset_id": "train"}}}
    return given


@pytest.fixture
def same_images(monkeypatch):
    """Let the training images be the test images."""
    from kd_plugins.analysis.kinds import probe

    monkeypatch.setattr(
        probe, "training_loader", lambda study: DataLoader(study.built["datasets"]["train"], batch_size=128)
    )


@pytest.mark.parametrize("head", ["lda", "linear"])
def test_features_that_are_separable_and_noise(head):
    labels = torch.arange(60) % 3
    train = torch.eye(3)[labels] + 0.01 * torch.randn(60, 3)
    assert fitted_accuracy(head, train, labels, torch.eye(3), torch.arange(3)) == 100
    noise = fitted_accuracy(head, torch.randn(60, 2), labels, torch.randn(300, 2), torch.arange(300) % 3)
    assert 20 < noise < 50


def test_input_and_output_of_a_kd_layer(same_images):
    data = studies.images(40)
    student = add_kd_layers(studies.network(), [{"point": "penultimate", "num_scores": 8, "alpha": 0.0}])
    given = with_training_images(studies.study(studies.network(), data=data, student=student), data)
    found = studies.drawn(Probe(), given)
    assert list(found["accuracy"]) == ["student"]  # the teacher has no such layer
    before, after = found["accuracy"]["student"].values()
    assert before == after  # alpha is 0
    pooled = given.found.of("probe", "student", "kd_layer.penultimate input")
    expected = LinearDiscriminantAnalysis().fit(pooled, data.tensors[1]).score(pooled, data.tensors[1])
    assert before == pytest.approx(100 * expected)


def test_kd_layers_come_in_the_order_in_which_they_run(same_images):
    data = studies.images(20)
    layers = [{"point": point, "num_scores": 8} for point in ("penultimate", "stage2")]
    given = with_training_images(studies.study(data=data, student=add_kd_layers(studies.network(), layers)), data)
    found = studies.drawn(Probe(), given)["accuracy"]["student"]
    assert list(found) == [f"kd_layer.{name} {io}" for name in ("stage2", "penultimate") for io in ("input", "output")]


def test_stages_and_points(same_images):
    data = studies.images(20)
    given = with_training_images(studies.study(studies.network(), data=data, student=studies.network()), data)
    assert list(studies.drawn(Probe(head="linear"), given)["accuracy"]["teacher"]) == ["stage1", "stage2", "stage3"]
    assert list(studies.drawn(Probe(points=["last_map"]), given)["accuracy"]["student"]) == ["last_map"]
    one = studies.images(4, classes=1)
    with pytest.raises(ConfigError, match="training images of at least two classes"):
        studies.result(Probe(), with_training_images(studies.study(studies.network(), data=data), one))
    with pytest.raises(ValueError, match="--head must be one of 'lda', 'linear', found 'svm'"):
        Probe(head="svm")
