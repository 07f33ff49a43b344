"""Autograd function that keeps auxiliary tensors in the graph of a model's output."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _KeepInGraph(torch.autograd.Function):
    # Adding 0 * beside.sum() instead would turn infinite values into NaN, and give gradients of zero.

    @staticmethod
    def forward(ctx: Any, output: Tensor, *beside: Tensor) -> Tensor:
        ctx.beside = len(beside)
        return output.view_as(output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return gradient, *[None] * ctx.beside


def keep_in_graph(output: Tensor, *beside: Tensor) -> Tensor:
    """Return ``output`` with ``beside`` in its graph; no gradient flows there from ``output``.

    DistributedDataParallel finds the used parameters by walking the graph from the output. Parameters whose results
    reach the loss only through hooks would count as unused.
    """
    return _KeepInGraph.apply(output, *beside)
