import pytest
import torch
from torch import nn

from kd_plugins.models.fingerprint import fingerprint


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))


def test_a_part_sees_only_its_own_entries(model):
    part, whole = fingerprint(model, ["0.weight", "1.running_mean"]), fingerprint(model)
    with torch.no_grad():
        model[0].bias[0] += 1e-6
    assert fingerprint(model, ["0.weight", "1.running_mean"]) == part
    assert fingerprint(model) != whole
    model[1].running_mean[0] = 1.0
    assert fingerprint(model, ["0.weight", "1.running_mean"]) != part


def test_order_and_repeats_do_not_matter(model):
    assert fingerprint(model, reversed(list(model.state_dict()))) == fingerprint(model)
    assert fingerprint(model, ["0.bias", "0.bias", "0.weight"]) == fingerprint(model, ["0.weight", "0.bias"])


def test_names_are_part_of_the_hash():
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    model[1].load_state_dict(model[0].state_dict())
    assert fingerprint(model, ["0.weight"]) != fingerprint(model, ["1.weight"])
    assert fingerprint(model, []) != fingerprint(model, ["0.weight"])


def test_an_unknown_name_is_refused(model):
    with pytest.raises(ValueError, match=r"'0\.wieght'.*did you mean '0\.weight'"):
        fingerprint(model, ["0.wieght"])
