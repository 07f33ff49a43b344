"""Correlations between classes."""

import pytest
import studies
import torch
from torch import nn

from kd_plugins._errors import ConfigError
from kd_plugins.analysis.kinds.correlation import Correlation, errors, head_weight, weight_correlation
from kd_plugins.models import CIFAR_MODELS


def test_an_identity_correlates_with_itself_only():
    assert torch.equal(weight_correlation(torch.eye(3)), torch.eye(3, dtype=torch.float64))


def test_scale_of_rows_and_rotation_of_columns_do_not_matter():
    weight = torch.randn(5, 8)
    rotation, _ = torch.linalg.qr(torch.randn(8, 8))
    expected = weight_correlation(weight)
    torch.testing.assert_close(weight_correlation(3 * weight), expected)
    torch.testing.assert_close(weight_correlation(weight @ rotation), expected, rtol=1e-4, atol=1e-5)
    assert torch.allclose(weight_correlation(weight, centred=True), torch.corrcoef(weight.double()), atol=1e-6)


def test_errors_by_hand():
    found = errors(torch.tensor([[0.0, 0.5], [0.3, 0.0]]))
    assert [round(value.item(), 4) for value in found.values()] == [0.4, 0.8, 0.5]


@pytest.mark.parametrize("of", ["weights", "logits"])
def test_a_student_that_is_its_teacher(of):
    model = studies.network()
    given = studies.study(model, same=model, other=studies.network())
    analysis = Correlation(of=of)
    found = studies.drawn(analysis, given)
    assert found["difference"]["same"]["l1"] == 0 < found["difference"]["other"]["l1"]
    assert any(line.startswith("same: the correlations are the teacher's") for line in analysis.table(found))
    assert analysis.needs_images == (of == "logits")


def test_a_convolution_as_classifier_and_one_that_is_not_linear():
    given = studies.study(CIFAR_MODELS["cifar_vgg8"](num_classes=5))
    assert head_weight(given.teacher).shape == (5, 512)
    model = studies.network()
    model.fc = nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 5))
    with pytest.raises(ConfigError, match="needs a linear classifier, but that of net is Sequential; use --of logits"):
        head_weight(studies.study(model).teacher)
    with pytest.raises(ValueError, match="--centred is for --of weights"):
        Correlation(of="logits", centred=True)
