import pytest
import torch
from torch.nn import functional as F

from kd_plugins.transforms import match_size, to_feature_map
from kd_plugins.transforms.feature_map import average_pool

MAP = torch.arange(2 * 3 * 4 * 6, dtype=torch.float64).reshape(2, 3, 4, 6)
TOKENS = MAP.flatten(2).transpose(1, 2)  # as a patch embedding makes them


def test_nchw_is_the_tensor_itself():
    assert to_feature_map(MAP, layout="NCHW") is MAP


def test_nhwc():
    assert torch.equal(to_feature_map(MAP.permute(0, 2, 3, 1), layout="NHWC"), MAP)


def test_pooled_vector_is_one_position():
    x = torch.tensor([[1.0, 2.0]])
    assert torch.equal(to_feature_map(x, layout="NC"), torch.tensor([[[[1.0]], [[2.0]]]]))


@pytest.mark.parametrize("prefix", [0, 1, 2])
def test_tokens_fill_the_grid_row_by_row(prefix):
    x = torch.cat([torch.full((2, prefix, 3), -1.0, dtype=torch.float64), TOKENS], dim=1)
    assert torch.equal(to_feature_map(x, layout="NLC", prefix_tokens=prefix, grid=(4, 6)), MAP)


def test_tokens_in_a_slow_loop():
    x = torch.randn(2, 1 + 6, 5)
    ours = to_feature_map(x, layout="NLC", prefix_tokens=1, grid=(2, 3))
    for b in range(2):
        for k in range(5):
            for h in range(2):
                for w in range(3):
                    assert ours[b, k, h, w] == x[b, 1 + 3 * h + w, k]


def test_a_square_needs_no_grid():
    assert to_feature_map(torch.zeros(2, 50, 8), layout="NLC", prefix_tokens=1).shape == (2, 8, 7, 7)


@pytest.mark.parametrize(
    ("x", "arguments"),
    [
        (torch.zeros(2, 4, 4, 3), {"layout": "NHWC"}),
        (torch.zeros(2, 17, 3), {"layout": "NLC", "prefix_tokens": 1}),
        (torch.zeros(2, 3), {"layout": "NC"}),
    ],
)
def test_is_a_view(x, arguments):
    assert to_feature_map(x, **arguments)._base is x


def test_gradcheck():
    x = torch.randn(1, 5, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: to_feature_map(x, layout="NLC", prefix_tokens=1), x)


@pytest.mark.parametrize(
    ("shape", "arguments", "message"),
    [
        ((2, 3, 4, 4), {"layout": "NCWH"}, "layout must be one of 'NCHW', 'NHWC', 'NLC', 'NC', found 'NCWH'"),
        ((2, 17, 3), {"layout": "NCHW"}, r"'NCHW' needs 4 dimensions, found shape \(2, 17, 3\)"),
        ((2, 3, 4, 4), {"layout": "NCHW", "prefix_tokens": 1}, "prefix_tokens .* found 1 with 'NCHW'"),
        ((2, 3, 4, 4), {"layout": "NHWC", "grid": (4, 4)}, r"grid .* found \(4, 4\) with 'NHWC'"),
        ((2, 17, 3), {"layout": "NLC"}, r"17 patches do not form a square: set grid=\(H, W\)"),
        ((2, 17, 3), {"layout": "NLC", "grid": (4, 4)}, r"grid \(4, 4\) holds 16 patches, found 17"),
        ((2, 17, 3), {"layout": "NLC", "prefix_tokens": 17}, "below the number of tokens, 17, found 17"),
        ((2, 17, 3), {"layout": "NLC", "prefix_tokens": -1}, "at least 0 .* found -1"),
    ],
)
def test_refuses(shape, arguments, message):
    with pytest.raises(ValueError, match=message):
        to_feature_map(torch.zeros(shape), **arguments)


def test_match_size_pools_the_larger():
    # 2 x 2 blocks of 0..15: means 2.5, 4.5, 10.5, 12.5.
    large, small = torch.arange(16.0).reshape(1, 1, 4, 4), torch.zeros(1, 7, 2, 2)
    for a, b in (match_size(large, small), match_size(small, large)[::-1]):
        assert torch.equal(a, torch.tensor([[[[2.5, 4.5], [10.5, 12.5]]]]))
        assert b is small


def test_match_size_takes_the_smaller_of_each_dimension():
    tall, wide = torch.randn(2, 3, 8, 2), torch.randn(2, 5, 4, 6)
    a, b = match_size(tall, wide)
    torch.testing.assert_close(a, F.adaptive_avg_pool2d(tall, (4, 2)))
    torch.testing.assert_close(b, F.adaptive_avg_pool2d(wide, (4, 2)))


def test_match_size_leaves_equal_maps_alone():
    a, b = torch.zeros(2, 3, 4, 5), torch.zeros(2, 6, 4, 5)
    matched = match_size(a, b)
    assert matched[0] is a
    assert matched[1] is b


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ((2, 3, 4, 4), (3, 3, 4, 4), "same batch size, found 2 and 3 samples"),
        ((2, 3, 4, 4), (2, 16, 3), r"must have shape \(B, c, H, W\), found \(2, 16, 3\); declare the layout"),
    ],
)
def test_match_size_refuses(a, b, message):
    with pytest.raises(ValueError, match=message):
        match_size(torch.zeros(a), torch.zeros(b))


def test_compiles():
    def both(x, y):
        return match_size(to_feature_map(x, layout="NLC", prefix_tokens=1), y)

    torch.compiler.reset()
    x, y = torch.randn(2, 17, 3), torch.randn(2, 5, 2, 2)
    compiled = torch.compile(both, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x, y), both(x, y))


def test_average_pooling_is_the_adaptive_one():
    x = torch.randn(2, 3, 9, 14, dtype=torch.float64, requires_grad=True)
    for height in range(1, 11):
        for width in (1, 2, 3, 5, 7, 13, 14, 20):
            found = average_pool(x, (height, width))
            expected = torch.nn.functional.adaptive_avg_pool2d(x, (height, width))
            torch.testing.assert_close(found, expected)
            weights = torch.randn_like(expected)
            torch.testing.assert_close(
                torch.autograd.grad((found * weights).sum(), x), torch.autograd.grad((expected * weights).sum(), x)
            )
