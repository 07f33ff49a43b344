"""Long tensors in blocks of rows that stay in the processor's cache while several operations pass over them."""

from __future__ import annotations

import torch
from torch import Tensor

CPU_BLOCK_BYTES = 1 << 22
DEVICE_BLOCK_BYTES = 1 << 28


def row_blocks(x: Tensor) -> list[slice]:
    """Return slices that cut the rows of a matrix into blocks of a size that suits its device.

    What goes over a matrix more than once is quicker block by block, and what it makes on the way needs no memory of
    the matrix's size. Compiled code fuses the passes itself: there the whole matrix is one block.

    Example:
        >>> row_blocks(torch.empty(5000, 512))
        [slice(0, 2048, None), slice(2048, 4096, None), slice(4096, 5000, None)]
    """
    rows, columns = x.shape
    if torch.compiler.is_compiling():
        return [slice(0, rows)]
    budget = CPU_BLOCK_BYTES if x.device.type == "cpu" else DEVICE_BLOCK_BYTES
    step = max(1, budget // (columns * x.element_size()))
    return [slice(start, min(start + step, rows)) for start in range(0, rows, step)]


def joined(blocks: list[Tensor]) -> Tensor:
    """Return blocks of rows as one tensor; one block alone is not copied."""
    return blocks[0] if len(blocks) == 1 else torch.cat(blocks)
