import pytest
import torch

from kd_plugins.transforms import products
from kd_plugins.transforms.products import rows_times, sum_of_products


@pytest.fixture(params=["oneDNN", "BLAS"])
def library(request, monkeypatch):
    if request.param == "BLAS":
        monkeypatch.setattr(products, "ONEDNN", None)
    else:
        assert products.ONEDNN is not None
    return request.param


@pytest.mark.parametrize(("rows", "channels", "kernels"), [(1, 1, 1), (7, 3, 5), (300, 64, 64), (33, 5, 400)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_products_in_double_precision(library, rows, channels, kernels, dtype):
    torch.manual_seed(0)
    a, b, c = torch.randn(rows, channels), torch.randn(kernels, channels), torch.randn(rows, kernels)
    bias = torch.randn(kernels)
    for found, expected in (
        (rows_times(a.to(dtype), b.to(dtype)), a.double() @ b.double().T),
        (rows_times(a.to(dtype), b.to(dtype), bias.to(dtype)), a.double() @ b.double().T + bias.double()),
        (rows_times(c.to(dtype), b.to(dtype).T), c.double() @ b.double()),
        (sum_of_products(a.to(dtype), c.to(dtype)), a.double().T @ c.double()),
    ):
        assert found.dtype == dtype
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())


def test_no_rows(library):
    assert rows_times(torch.ones(0, 3), torch.ones(4, 3), torch.ones(4)).shape == (0, 4)
    assert torch.equal(sum_of_products(torch.ones(0, 3), torch.ones(0, 4)), torch.zeros(3, 4))


def test_the_sum_of_many_rows_does_not_drift():
    # 2^17 products of the same sign: what is lost to rounding would show.
    torch.manual_seed(0)
    a, b = torch.rand(1 << 17, 4), torch.rand(1 << 17, 3)
    torch.testing.assert_close(sum_of_products(a, b).double(), a.double().T @ b.double(), rtol=1e-5, atol=0)
