import copy
import pickle
from collections import namedtuple
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from kd_plugins.models import timm_model
from kd_plugins.models.logits import describe_output, give_logits

Outputs = namedtuple("Outputs", ["logits", "aux"])


class Several(nn.Module):
    """Returns its logits and something else, in one of many ways."""

    def __init__(self, way="dict"):
        super().__init__()
        self.fc = nn.Linear(4, 3)
        self.way = way

    def forward(self, x):
        logits = self.fc(x)
        if self.way == "namedtuple" and not self.training:
            return logits
        ways = {"dict": dict, "object": SimpleNamespace, "namedtuple": Outputs}
        return (x, logits) if self.way == "tuple" else ways[self.way](logits=logits, aux=x)


@pytest.mark.parametrize(
    ("way", "key"),
    [
        ("dict", "logits"),
        ("object", "logits"),
        ("namedtuple", "logits"),
        ("namedtuple", 0),
        ("tuple", 1),
        ("tuple", -1),
    ],
)
def test_the_model_returns_its_logits(way, key):
    model, x = give_logits(Several(way), key), torch.randn(2, 4)
    for mode in (True, False):
        assert torch.equal(model.train(mode)(x), model.fc(x))
    assert list(model.state_dict()) == ["fc.weight", "fc.bias"]


def test_copies_return_logits_too():
    model, x = give_logits(Several(), "logits"), torch.randn(2, 4)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(other(x), model(x))


def test_a_hook_sees_the_logits():
    model, seen = give_logits(Several(), "logits"), []
    model.register_forward_hook(lambda module, args, output: seen.append(output))
    output = model(torch.randn(2, 4))
    assert seen[0] is output


@pytest.mark.parametrize(
    ("way", "key", "found"),
    [
        ("dict", "logit", r"a dict with 'logits' \(2, 3\), 'aux' \(2, 4\)"),
        ("object", "logit", r"a SimpleNamespace with 'logits' \(2, 3\), 'aux' \(2, 4\)"),
        ("tuple", 2, r"a tuple with 0 \(2, 4\), 1 \(2, 3\)"),
        ("tuple", "logits", r"a tuple with 0 \(2, 4\), 1 \(2, 3\)"),
        ("dict", 0, r"a dict with 'logits'"),
    ],
)
def test_an_output_that_is_not_there(way, key, found):
    model = give_logits(Several(way), key)
    with pytest.raises(ValueError, match=f"logits: Several has no output {key!r}, found {found}"):
        model(torch.randn(2, 4))


@pytest.mark.parametrize("key", [None, True, 1.0, ["logits"]])
def test_what_is_no_key(key):
    with pytest.raises(ValueError, match="logits must be a key or an index"):
        give_logits(Several(), key)


def test_outputs_are_described():
    many = {f"k{n}": n for n in range(10)}
    assert describe_output(torch.zeros(2)) == "(2,)"
    assert describe_output(3) == "int"
    assert describe_output(many).startswith("a dict with 'k0' int, 'k1' int")
    assert "and 2 more; select the logits with the keyword logits" in describe_output(many)


def test_a_timm_model_of_two_heads():
    name, shape = "deit_tiny_distilled_patch16_224", {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 1}
    model = timm_model(model_name=name, num_classes=3, num_heads=3, logits=0, **shape)
    model.set_distilled_training(True)
    assert model.train()(torch.randn(2, 3, 32, 32)).shape == (2, 3)
    assert model.eval()(torch.randn(2, 3, 32, 32)).shape == (2, 3)
