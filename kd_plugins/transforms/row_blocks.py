"""Splitting of long tensors into blocks of rows that fit into the CPU cache."""

from __future__ import annotations

import math

import torch
from torch import Tensor

CPU_BLOCK_BYTES = 1 << 22
DEVICE_BLOCK_BYTES = 1 << 28
PARTS = 64


def row_blocks(x: Tensor) -> list[slice]:
    """Return slices that cut the rows of a matrix into blocks of a size that suits its device.

    Several passes over a matrix are faster block by block, and need no buffer of the matrix's size. Compiled code fuses
    the passes itself, so there the whole matrix is one block.
    """
    rows = len(x)
    if torch.compiler.is_compiling():
        return [slice(0, rows)]
    budget = CPU_BLOCK_BYTES if x.device.type == "cpu" else DEVICE_BLOCK_BYTES
    step = max(1, budget // (x.shape[1] * x.element_size()))
    return [slice(at, min(at + step, rows)) for at in range(0, rows, step)]


def column_sums(x: Tensor) -> Tensor:
    """Return the sums of a matrix's columns.

    ``sum(0)`` splits the columns over the CPU cores, so each core reads rows that other cores have just written.
    Summing in parts keeps each core on its own rows, as in all other operations.
    """
    parts = math.gcd(len(x), PARTS)
    return x.view(parts, -1, x.shape[1]).sum(1).sum(0) if parts > 1 and x.device.type == "cpu" else x.sum(0)
