"""Gathering of rows from all processes, with gradient."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable


class Gathered(NamedTuple):
    """Rows (sum of B over the ranks, C) of all ranks, in their order, and the index of the first local row.

    ``weight`` turns the mean over the ranks of local batch means into the mean over all samples.
    """

    rows: Tensor
    offset: int
    weight: float


class _GatherRows(torch.autograd.Function):
    # torch.distributed.all_gather has no gradient.

    @staticmethod
    def forward(ctx: Any, rows: Tensor, sizes: list[int]) -> Tensor:
        rank = dist.get_rank()
        ctx.local = slice(sum(sizes[:rank]), sum(sizes[: rank + 1]))
        # Not every backend gathers unequal shapes, so every rank sends as many rows as the largest batch has.
        sent = rows.new_zeros(max(sizes), *rows.shape[1:])
        sent[: len(rows)] = rows
        received = [torch.empty_like(sent) for _ in sizes]
        dist.all_gather(received, sent)
        return torch.cat([part[:size] for part, size in zip(received, sizes, strict=True)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        # A row is a column in the loss of every rank.
        gradient = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(gradient)
        return gradient[ctx.local], None


def gather_rows(rows: Tensor) -> Gathered:
    """Return the rows (B, C) of all ranks; without several processes, the given ones.

    Every rank must call it, and run the backward pass if any does. B may differ between the ranks, so the sizes are
    read on the host, which waits for the device once.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return Gathered(rows, 0, 1.0)
    size = torch.tensor([len(rows)], device=rows.device)
    received = [torch.empty_like(size) for _ in range(dist.get_world_size())]
    dist.all_gather(received, size)
    sizes: list[int] = torch.cat(received).tolist()
    return Gathered(
        rows=_GatherRows.apply(rows, sizes),
        offset=sum(sizes[: dist.get_rank()]),
        weight=len(rows) * len(sizes) / sum(sizes),
    )
