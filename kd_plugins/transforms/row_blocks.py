"""Long tensors in blocks of rows that stay in the processor's cache while several operations pass over them."""

from __future__ import annotations

import torch
from torch import Tensor

CPU_BLOCK_BYTES = 1 << 20
DEVICE_BLOCK_BYTES = 1 << 28


def row_blocks(x: Tensor) -> list[slice]:
    """Return slices that cut the rows of a matrix into blocks of a size that suits its device.

    What goes over a matrix more than once is quicker block by block, and what it makes on the way needs no memory of
    the matrix's size. Compiled code fuses the passes itself: there the whole matrix is one block.

    Example:
        >>> row_blocks(torch.empty(1000, 512))
        [slice(0, 512, None), slice(512, 1000, None)]
    """
    rows, columns = x.shape
    if torch.compiler.is_compiling():
        return [slice(0, rows)]
    budget = CPU_BLOCK_BYTES if x.device.type == "cpu" else DEVICE_BLOCK_BYTES
    step = max(1, budget // (columns * x.element_size()))
    return [slice(start, min(start + step, rows)) for start in range(0, rows, step)]
