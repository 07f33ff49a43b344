import pytest
import torch
from torch import nn

from kd_plugins.models import timm_model
from kd_plugins.synthesis.batch_norms import BatchNormTerm, batch_norms, input_and_moments, recorded


def statistics_of(model, x):
    """Set the running statistics of a model to those of one batch; population variances, as the term takes them."""
    with recorded(BatchNormTerm(batch_norms_of(model))) as term:
        model.train()(x)
        for layer, (mean, variance) in term._seen.items():
            layer.running_mean.copy_(mean.detach())
            layer.running_var.copy_(variance.detach())
    return model.eval()


def batch_norms_of(model):
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]


def test_is_0_for_the_batch_of_the_statistics():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 3))
    x = torch.randn(8, 3, 6, 6)
    statistics_of(model, x)
    with recorded(BatchNormTerm(batch_norms(model))) as term:
        model(x)
        assert term.value().item() == pytest.approx(0, abs=1e-5)


def test_by_hand():
    layer = nn.BatchNorm2d(2)
    layer.running_mean[:] = torch.tensor([0.0, 1.0])
    layer.running_var[:] = torch.tensor([1.0, 4.0])
    x = torch.tensor([[1.0, 1.0], [5.0, 1.0]]).view(2, 2, 1, 1)  # means 3 and 1, variances 4 and 0
    with recorded(BatchNormTerm([layer.eval()], first=10.0)) as term:
        layer(x)
        assert term.value().item() == pytest.approx(10 * (3 + 5))


@pytest.mark.parametrize("shift", [0.0, 30.0])
def test_moments_and_their_gradients_are_those_of_var_mean(shift):
    x = (torch.randn(4, 3, 5, 7) + shift).requires_grad_()
    same, *ours = input_and_moments(x)
    assert torch.equal(same, x)
    theirs = torch.var_mean(x, dim=(0, 2, 3), correction=0)[::-1]
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
        weights = torch.randn(3)
        (got,) = torch.autograd.grad((one * weights).sum(), x, retain_graph=True)
        (expected,) = torch.autograd.grad((other * weights).sum(), x, retain_graph=True)
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-5)


def test_the_gradient_of_the_input_is_added():
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(2, 3, 4, 4, dtype=torch.float64)

    def loss(x):
        same, mean, variance = input_and_moments(x)
        return (same.sin() * weights).sum() + mean.sum() + variance.square().sum()

    def plain(x):
        variance, mean = torch.var_mean(x, dim=(0, 2, 3), correction=0)
        return (x.sin() * weights).sum() + mean.sum() + variance.square().sum()

    (got,), (expected,) = (torch.autograd.grad(function(x), x) for function in (loss, plain))
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_widened(dtype):
    x = torch.full((2, 1, 64, 64), 50.0, dtype=dtype, requires_grad=True)
    same, mean, variance = input_and_moments(x)
    assert same.dtype == dtype
    assert mean.item() == 50
    assert variance.item() == 0
    (gradient,) = torch.autograd.grad(mean.sum() + variance.sum(), x)
    assert gradient.dtype == dtype
    assert gradient.isfinite().all()


def test_leaves_no_hooks_after_an_error():
    layer = nn.BatchNorm2d(2)
    with recorded(BatchNormTerm([layer])):
        assert layer._forward_pre_hooks
        with pytest.raises(RuntimeError, match="running_mean"):
            layer(torch.zeros(2, 3, 4, 4))
    assert not layer._forward_pre_hooks
    with pytest.raises(RuntimeError, match="running_mean"), recorded(BatchNormTerm([layer])):
        layer(torch.zeros(2, 3, 4, 4))
    assert not layer._forward_pre_hooks


def test_a_layer_that_does_not_run_has_no_part():
    used, unused = nn.BatchNorm2d(1).eval(), nn.BatchNorm2d(1).eval()
    with recorded(BatchNormTerm([unused, used])) as term:
        used(torch.zeros(1, 1, 2, 2))
        assert term.value().item() == pytest.approx(1.0)  # the variance is 0 instead of 1


@pytest.mark.parametrize(
    ("model", "found"),
    [
        (lambda: timm_model(model_name="vit_tiny_patch16_224"), r"VisionTransformer has none \(LayerNorm: 25\)"),
        (lambda: nn.Sequential(nn.GroupNorm(1, 2)), r"none \(GroupNorm: 1\)"),
        (lambda: nn.Sequential(nn.Flatten()), r"none \(no normalisation\)"),
        (lambda: nn.Sequential(nn.BatchNorm2d(2, track_running_stats=False)), "a batch norm of Sequential keeps none"),
        (lambda: nn.Sequential(nn.BatchNorm2d(2)), "were never trained: every running mean is 0 and every variance 1"),
    ],
)
def test_refuses_what_has_no_statistics(model, found):
    with pytest.raises(ValueError, match=rf"{found}.*bn=0 for DeepDream images"):
        batch_norms(model())
