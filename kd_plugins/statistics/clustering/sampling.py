"""Uniform random sample of the positions of each class, from a stream."""

from __future__ import annotations

import torch
from torch import Tensor

from ..streaming import Block


class ClassSample:
    """A random sample of at most n positions of every class.

    Every position gets a random key, and the n smallest keys of a class are kept: a uniform sample without replacement,
    for any order and number of positions.

    Args:
        classes: C.
        size: n, positions per class.
        seed: seed of the keys.
    """

    def __init__(self, classes: int, size: int, *, seed: int) -> None:
        self.classes, self.size = classes, size
        self.generator = torch.Generator().manual_seed(seed)
        self.rows: list[Tensor] = []
        self.labels: list[Tensor] = []
        self.keys: list[Tensor] = []
        self.held = 0
        self.bounds: Tensor | None = None

    def add(self, block: Block) -> None:
        """Let some images' positions into the sample."""
        labels = block.need_labels().repeat_interleave(block.features.shape[1])
        keys = torch.rand(len(labels), generator=self.generator, dtype=torch.float64).to(labels.device)
        rows = block.features.flatten(0, 1)
        chosen = (keys < self.bounds[labels]) if self.bounds is not None else torch.ones_like(keys, dtype=torch.bool)
        index = chosen.nonzero().flatten()
        self.rows.append(rows[index])
        self.labels.append(labels[index])
        self.keys.append(keys[index])
        self.held += len(index)
        # Sorting now and then is enough: twice what is wanted is held at most, and a block.
        if self.held > 2 * self.classes * self.size:
            self._compact()

    def result(self) -> tuple[Tensor, Tensor]:
        """Return the positions (C, n, d) and which exist, bool (C, n)."""
        rows, labels, rank = self._compact()
        points = rows.new_zeros(self.classes, self.size, rows.shape[1])
        present = torch.zeros(self.classes, self.size, dtype=torch.bool, device=rows.device)
        points[labels, rank] = rows
        present[labels, rank] = True
        return points, present

    def _compact(self) -> tuple[Tensor, Tensor, Tensor]:
        """Forget what has no place in the sample; return rows, labels and the ranks of the keys in their class."""
        rows, labels, keys = torch.cat(self.rows), torch.cat(self.labels), torch.cat(self.keys)
        order = keys.argsort(stable=True)
        order = order[labels[order].argsort(stable=True)]
        counts = torch.bincount(labels, minlength=self.classes)
        starts = counts.cumsum(0) - counts
        rank = torch.arange(len(order), device=order.device) - starts[labels[order]]
        kept = rank < self.size
        order, rank = order[kept], rank[kept]
        rows, labels, keys = rows[order], labels[order], keys[order]
        self.bounds = keys.new_full((self.classes,), 2.0)
        worst = rank == self.size - 1
        self.bounds[labels[worst]] = keys[worst]
        self.rows, self.labels, self.keys, self.held = [rows], [labels], [keys], len(rows)
        return rows, labels, rank
