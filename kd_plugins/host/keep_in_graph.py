"""Parts beside a model that its output must be seen to depend on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _KeepInGraph(torch.autograd.Function):
    """Return the first tensor; the others become part of its graph, without a gradient from it.

    Adding ``0 * beside.sum()`` instead would turn an infinite value there into NaN here, and give zeros as gradients.
    """

    @staticmethod
    def forward(ctx: Any, output: Tensor, *beside: Tensor) -> Tensor:
        ctx.beside = len(beside)
        return output.view_as(output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return gradient, *[None] * ctx.beside


def keep_in_graph(output: Tensor, *beside: Tensor) -> Tensor:
    """Return ``output`` with ``beside`` in its graph; no gradient flows there from ``output``.

    Data-parallel training looks for parameters in use from the output, and would take for unused those whose results
    reach the loss through hooks alone.

    Example:
        >>> x, y = torch.tensor(2.0, requires_grad=True), torch.tensor(3.0, requires_grad=True)
        >>> keep_in_graph(x * x, y * y).backward()
        >>> x.grad, y.grad
        (tensor(4.), None)
    """
    return _KeepInGraph.apply(output, *beside)
