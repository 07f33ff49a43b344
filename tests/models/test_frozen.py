import copy
import pickle

import torch
from torch import nn

from kd_plugins.models import freeze, is_frozen


def network():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5))


def state_of(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def assert_same_state(model, expected):
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


def test_state_is_bit_identical_after_training_mode_forwards():
    model = freeze(network())
    before = state_of(model)
    for _ in range(5):
        model.train()
        model(torch.randn(4, 3, 8, 8) * 3 + 1)
    assert_same_state(model, before)
    assert not any(part.training for part in model.modules())


def test_a_child_alone_in_training_mode_is_put_back():
    model = freeze(network())
    before = state_of(model)
    model[1].train()
    model(torch.randn(4, 3, 8, 8))
    assert_same_state(model, before)


def test_without_freezing_the_state_would_drift():
    model = network().train()
    before = state_of(model)
    model(torch.randn(4, 3, 8, 8))
    assert not torch.equal(model[1].running_mean, before["1.running_mean"])


def test_gradient_flags_are_put_back():
    model = freeze(network())
    assert not any(p.requires_grad for p in model.parameters())
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    out = model(torch.randn(2, 3, 8, 8))
    assert not out.requires_grad
    assert not any(p.requires_grad for p in model.parameters())


def test_gradient_still_reaches_the_input():
    x = torch.randn(2, 3, 8, 8, requires_grad=True)
    freeze(network())(x).sum().backward()
    assert x.grad.abs().sum() > 0


def test_deepcopy_and_pickle_stay_frozen():
    model = freeze(network())
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert is_frozen(copied)
        before = state_of(copied)
        copied.train()(torch.randn(4, 3, 8, 8))
        assert_same_state(copied, before)
        assert not copied.training


def test_freezing_twice_adds_one_hook():
    model = freeze(freeze(network()))
    assert len(model._forward_pre_hooks) == 1


def test_returns_the_model_and_keeps_its_names():
    model = network()
    names = list(model.state_dict())
    assert freeze(model) is model
    assert list(model.state_dict()) == names


def test_is_frozen_is_false_for_a_model_in_eval_mode():
    assert not is_frozen(network().eval().requires_grad_(False))


def test_compiles_without_graph_break():
    model = freeze(network())
    x = torch.randn(2, 3, 8, 8)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    assert torch.equal(compiled(x), model(x))
