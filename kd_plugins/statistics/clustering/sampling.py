"""Uniform random sample of the positions of each class of a stream."""

from __future__ import annotations

import torch
from torch import Tensor

from ..streaming import Block


class ClassSample:
    """A random sample of at most n positions of every class.

    Every position gets a random key, and the n smallest keys of a class are kept. This gives a uniform sample without
    replacement, for any order and number of positions.
    """

    def __init__(self, classes: int, size: int, *, seed: int) -> None:
        self.classes, self.size = classes, size
        self.generator = torch.Generator().manual_seed(seed)
        self.parts: list[tuple[Tensor, Tensor, Tensor]] = []  # rows, labels and keys
        self.held = 0
        self.bounds: Tensor | None = None

    def add(self, block: Block) -> None:
        """Add the positions of some images, each with its image's class."""
        labels = block.need_labels().repeat_interleave(block.features.shape[1])
        keys = torch.rand(len(labels), generator=self.generator, dtype=torch.float64).to(labels.device)
        rows = block.features.flatten(0, 1)
        bounds = 2.0 if self.bounds is None else self.bounds[labels]
        index = (keys < bounds).nonzero().flatten()
        self.parts.append((rows[index], labels[index], keys[index]))
        self.held += len(index)
        # Sorting only now and then limits the memory to twice the sample and one block.
        if self.held > 2 * self.classes * self.size:
            self._compact()

    def result(self) -> tuple[Tensor, Tensor]:
        """Return the positions (C, n, d), and which of them exist, bool (C, n)."""
        rows, labels, rank = self._compact()
        points = rows.new_zeros(self.classes, self.size, rows.shape[1])
        present = torch.zeros(self.classes, self.size, dtype=torch.bool, device=rows.device)
        points[labels, rank] = rows
        present[labels, rank] = True
        return points, present

    def _compact(self) -> tuple[Tensor, Tensor, Tensor]:
        """Drop positions outside the sample; return rows, labels and ranks of the keys within their class."""
        rows, labels, keys = map(torch.cat, zip(*self.parts, strict=True))
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
        self.parts, self.held = [(rows, labels, keys)], len(rows)
        return rows, labels, rank
