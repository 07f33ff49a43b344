import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kd_plugins.transforms import activation_map, attention_map, class_activation_maps

# Channels (1, -4, 0) and (3, 2, 0) at three positions.
MAP = torch.tensor([[[[1.0, -4.0, 0.0]], [[3.0, 2.0, 0.0]]]])


def features(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


class TestAttentionMap:
    def test_hand_computed_values(self):
        assert attention_map(MAP).tolist() == [[[5.0, 10.0, 0.0]]]  # (1 + 9) / 2, (16 + 4) / 2
        assert attention_map(MAP, power=1).tolist() == [[[2.0, 3.0, 0.0]]]  # (1 + 3) / 2, (4 + 2) / 2
        assert attention_map(MAP, power=3).tolist() == [[[14.0, 36.0, 0.0]]]  # (1 + 27) / 2, (64 + 8) / 2

    @settings(deadline=None, max_examples=20)
    @given(st.permutations(range(5)), st.sampled_from([1, 1.5, 2, 4]))
    def test_knows_neither_signs_nor_the_order_of_channels(self, order, power):
        x = features(2, 5, 3, 3)
        signs = torch.tensor([1.0, -1.0, 1.0, -1.0, -1.0]).view(5, 1, 1)
        torch.testing.assert_close(attention_map(signs * x[:, order], power=power), attention_map(x, power=power))

    @pytest.mark.parametrize("power", [2, 2.5])
    def test_gradcheck(self, power):
        x = features(2, 3, 2, 2).requires_grad_()
        assert torch.autograd.gradcheck(lambda x: attention_map(x, power=power), x)

    @pytest.mark.parametrize("power", [1, 1.5, 2, 3])
    def test_zeros_have_a_finite_gradient(self, power):
        x = torch.zeros(1, 2, 2, 2, requires_grad=True)
        attention_map(x, power=power).sum().backward()
        assert torch.equal(x.grad, torch.zeros_like(x))

    def test_refuses(self):
        with pytest.raises(ValueError, match=r"power must be a finite number of at least 1, found 0\.5"):
            attention_map(MAP, power=0.5)
        with pytest.raises(
            ValueError, match=r"map of shape \(B, c, H, W\), found \(2, 17, 8\); convert .* with to_feature_map"
        ):
            attention_map(torch.zeros(2, 17, 8))
        with pytest.raises(ValueError, match=r"floating-point numbers, found torch\.int64"):
            attention_map(MAP.long())


class TestActivationMap:
    def test_hand_computed_values(self):
        # 0.25 * 2 + 0.75 * 3 = 2.75, 0.25 * 3 + 0.75 * 4 = 3.75 and 0, scaled by 1 / 3.75
        torch.testing.assert_close(activation_map(MAP), torch.tensor([[[2.75 / 3.75, 1.0, 0.0]]]))
        # Signs kept: the means are 2, -1, 0 and the largest 3, 2, 0; 5, 1, 0 with both weights 1.
        signed = activation_map(MAP, mean_weight=1, max_weight=1, absolute=False)
        torch.testing.assert_close(signed, torch.tensor([[[1.0, 0.2, 0.0]]]))

    @settings(deadline=None, max_examples=20)
    @given(st.floats(1e-3, 1e3), st.integers(0, 99))
    def test_each_sample_fills_0_to_1_whatever_its_scale(self, scale, seed):
        x = features(3, 4, 3, 2, seed=seed)
        maps = activation_map(x)
        assert maps.amin((1, 2)).tolist() == [0.0] * 3
        assert maps.amax((1, 2)).tolist() == [1.0] * 3
        torch.testing.assert_close(activation_map(scale * x), maps)
        torch.testing.assert_close(activation_map(x[1:2]), maps[1:2])

    @pytest.mark.parametrize("absolute", [True, False])
    def test_constant_maps_give_zeros_and_a_finite_gradient(self, absolute):
        # 37 channels of thirds: sums at different positions may round differently.
        constant = (features(2, 37, 1, 1, dtype=torch.float32) / 3).abs().expand(2, 37, 5, 7)
        for x in (constant, torch.zeros(2, 3, 4, 4), torch.full((1, 2, 3, 3), 1e30), torch.ones(2, 3, 1, 1)):
            x = x.clone().requires_grad_()
            maps = activation_map(x, absolute=absolute)
            assert torch.equal(maps, torch.zeros_like(maps))
            maps.sum().backward()
            assert x.grad.isfinite().all()

    @pytest.mark.parametrize("absolute", [True, False])
    def test_weights_of_zero_give_exactly_zeros(self, absolute):
        maps = activation_map(features(2, 3, 4, 4), mean_weight=0, max_weight=0, absolute=absolute)
        assert torch.equal(maps, torch.zeros_like(maps))

    def test_gradcheck(self):
        x = features(2, 3, 2, 2).requires_grad_()
        assert torch.autograd.gradcheck(activation_map, x)

    def test_refuses(self):
        with pytest.raises(ValueError, match="mean_weight must be a finite number, found nan"):
            activation_map(MAP, mean_weight=float("nan"))
        with pytest.raises(ValueError, match="max_weight must be a finite number, found None"):
            activation_map(MAP, max_weight=None)
        with pytest.raises(ValueError, match=r"\(B, c, H, W\), found \(2, 3\)"):
            activation_map(torch.zeros(2, 3))


class TestClassActivationMaps:
    def test_hand_computed_values(self):
        weight = torch.tensor([[1.0, 2.0], [0.0, -1.0], [0.5, 0.0]])
        # 1 + 2 * 3, -4 + 2 * 2, 0; -3, -2, 0; 0.5, -2, 0
        assert class_activation_maps(MAP, weight).squeeze(2).tolist() == [
            [[7.0, 0.0, 0.0], [-3.0, -2.0, 0.0], [0.5, -2.0, 0.0]]
        ]

    def test_their_average_is_the_logit_without_the_bias(self):
        x, head = features(3, 6, 4, 5), torch.nn.Linear(6, 7).double()
        logits = class_activation_maps(x, head.weight).mean((2, 3)) + head.bias
        torch.testing.assert_close(logits, head(x.mean((2, 3))))

    def test_is_a_convolution_whatever_the_memory_format(self):
        x, weight = features(2, 6, 4, 5), features(7, 6, seed=1)
        expected = torch.nn.functional.conv2d(x, weight[:, :, None, None])
        torch.testing.assert_close(class_activation_maps(x, weight), expected)
        channels_last = x.contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(class_activation_maps(channels_last, weight), expected)

    def test_gradcheck(self):
        x, weight = features(2, 3, 2, 2).requires_grad_(), features(4, 3, seed=1).requires_grad_()
        assert torch.autograd.gradcheck(class_activation_maps, (x, weight))
        assert torch.autograd.gradgradcheck(class_activation_maps, (x, weight))

    @pytest.mark.parametrize("weight", [torch.zeros(5, 3), torch.zeros(5, 2, 1, 1), None])
    def test_refuses_another_head(self, weight):
        with pytest.raises(ValueError, match=r"head_weight must have shape \(C, 2\).*the head must be linear"):
            class_activation_maps(MAP, weight)


@pytest.mark.parametrize("transform", [attention_map, activation_map])
def test_half_precision_is_widened(transform):
    x = features(2, 3, 4, 4).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(transform(x), transform(x.float()))


def test_autocast_leaves_the_head_alone_in_both_passes():
    x, weight = features(2, 6, 4, 4, dtype=torch.float32), features(5, 6, seed=1, dtype=torch.float32)
    expected = class_activation_maps(x.requires_grad_(), weight.requires_grad_())
    gradients = torch.autograd.grad(expected.square().sum(), (x, weight))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        maps = class_activation_maps(x, weight)
        ours = torch.autograd.grad(maps.square().sum(), (x, weight))
    torch.testing.assert_close((maps, *ours), (expected, *gradients))


def test_compiles():
    x, weight = features(2, 6, 4, 4), features(5, 6, seed=1).requires_grad_()

    def both(x, weight):
        return (class_activation_maps(x, weight) * activation_map(x).unsqueeze(1)).sum() + attention_map(x).sum()

    torch.compiler.reset()
    compiled = torch.compile(both, fullgraph=True, backend="aot_eager")(x, weight)
    torch.testing.assert_close(compiled, both(x, weight))
    torch.testing.assert_close(torch.autograd.grad(compiled, weight), torch.autograd.grad(both(x, weight), weight))
