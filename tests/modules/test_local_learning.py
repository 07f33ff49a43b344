import pytest
import torch
from torch import nn

from kd_plugins.modules import LocalLearning


def network():
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2))


def boundaries(model):
    return [model[1], model[3], model[4]]


def gradients(model):
    return [None if p.grad is None else p.grad.clone() for p in model.parameters()]


def square(number, output):
    return (number + 1) * output.square().mean()


def learn(model, x, *, backward, scale=1.0):
    model.zero_grad()
    with LocalLearning(boundaries(model), square, backward=backward, scale=scale) as local:
        y = model(x)
    (y.sum() + scale * sum(local.losses)).backward()
    return local.losses, gradients(model)


def test_each_module_learns_from_its_own_loss_alone():
    model, x = network(), torch.randn(5, 3)
    losses, found = learn(model, x, backward="joint")
    # The same modules, run one after the other on inputs without a graph.
    model.zero_grad()
    first = torch.tanh(model[0](x))
    second = torch.tanh(model[2](first.detach()))
    y = model[4](second.detach())
    expected = [square(number, output) for number, output in enumerate((first, second, y))]
    torch.testing.assert_close(torch.stack(losses), torch.stack(expected))
    (sum(expected) + y.sum()).backward()
    for one, other in zip(found, gradients(model), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("scale", [1.0, 0.25, torch.tensor(512.0)])
def test_eager_gradients_are_those_of_one_backward_pass(scale):
    model, x = network(), torch.randn(5, 3)
    joint = learn(model, x, backward="joint", scale=scale)
    eager = learn(model, x, backward="eager", scale=scale)
    torch.testing.assert_close(torch.stack(eager[0]), torch.stack(joint[0]))
    for one, other in zip(eager[1], joint[1], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=0)


def test_eager_gradients_are_there_before_the_next_module_runs_and_the_graph_is_gone():
    model, x = network(), torch.randn(5, 3)
    seen = []
    model[2].register_forward_pre_hook(lambda _m, inputs: seen.append((model[0].weight.grad is not None, inputs[0])))
    with LocalLearning(boundaries(model), square, backward="eager") as local:
        model(x)
    assert seen[0][0]
    assert not seen[0][1].requires_grad
    assert [loss.requires_grad for loss in local.losses] == [False, False, True]
    assert model[2].weight.grad is not None
    assert model[4].weight.grad is None


def test_outputs_are_those_of_the_network_and_no_hook_is_left():
    model, x = network(), torch.randn(5, 3)
    for backward in ("joint", "eager"):
        with LocalLearning(boundaries(model), square, backward=backward):
            y = model(x)
        assert not any(module._forward_hooks for module in model.modules())
        assert torch.equal(model(x), y)
        model(x).sum().backward()  # whole again: the first layer is reached
        assert model[0].weight.grad.abs().max() > 0


def test_hooks_are_removed_after_an_error():
    model = network()

    def fails(number, output):
        raise RuntimeError("no loss today")

    local = LocalLearning(boundaries(model), fails)
    with pytest.raises(RuntimeError, match="no loss today"), local:
        model(torch.randn(5, 3))
    assert not any(module._forward_hooks for module in model.modules())
    local.close()
    local.close()


def test_frozen_modules_are_passed_by():
    model, x = network(), torch.randn(5, 3)
    model[0].requires_grad_(False)
    losses, found = learn(model, x, backward="eager")
    assert found[0] is None
    assert found[2] is not None
    assert losses[0].isfinite()


def test_eager_works_under_autocast():
    model, x = network(), torch.randn(5, 3)
    results = {}
    for backward in ("joint", "eager"):
        model.zero_grad()
        with (
            torch.autocast("cpu", dtype=torch.bfloat16),
            LocalLearning(
                boundaries(model), lambda number, output: output.float().square().mean(), backward=backward
            ) as local,
        ):
            y = model(x)
        (y.float().sum() + sum(local.losses)).backward()
        results[backward] = gradients(model)
    for one, other in zip(results["joint"], results["eager"], strict=True):
        assert torch.equal(one, other)


def test_refuses():
    model = network()
    with pytest.raises(ValueError, match="backward must be one of 'joint', 'eager', found 'lazy'"):
        LocalLearning(boundaries(model), square, backward="lazy")
    with (
        pytest.raises(ValueError, match="boundary 2 of 2 was reached after 0 others"),
        LocalLearning([model[3], model[1]], square),
    ):
        model(torch.randn(5, 3))
    twice = nn.Sequential(model[0], nn.Linear(4, 3), model[0], model[4])
    with (
        pytest.raises(ValueError, match="boundary 1 of 2 was reached after 1 others; each must be reached once"),
        LocalLearning([model[0], model[4]], square),
    ):
        twice(torch.randn(5, 3))

    class Two(nn.Module):
        def forward(self, x):
            return x, x

    two = Two()
    with (
        pytest.raises(ValueError, match="boundary 1 must return one tensor, found tuple"),
        LocalLearning([two], square),
    ):
        two(torch.zeros(1))
