"""Streams of features in blocks of images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from .artefact import StatisticsError

BLOCK_ROWS = 65536


@dataclass(frozen=True)
class Shape:
    """Size of a set of N feature maps (d, H, W), after pooling."""

    images: int
    height: int
    width: int
    channels: int

    @property
    def positions(self) -> int:
        """Positions of one map, H * W."""
        return self.height * self.width

    @property
    def rows(self) -> int:
        """Positions of all maps."""
        return self.images * self.positions

    @property
    def bytes(self) -> int:
        """Bytes of all maps in float32."""
        return 4 * self.rows * self.channels


@dataclass(frozen=True)
class Block:
    """Features (B, H * W, d) of some images, positions row by row, and their classes (B,), or None."""

    features: Tensor
    labels: Tensor | None

    def need_labels(self) -> Tensor:
        """Return the labels; raise ``StatisticsError`` if there are none."""
        if self.labels is None:
            raise StatisticsError(
                "intermediate statistics need a class index with each image (whole numbers of shape (B,)), which the "
                "data set does not give; use a data set of (image, class index), or kind: penultimate"
            )
        return self.labels


class FeatureStream(Protocol):
    """Features for several passes, always in the same order: their shape in all, and the device of the blocks."""

    shape: Shape
    device: torch.device

    def blocks(self, title: str) -> Iterator[Block]:
        """Yield all images once; ``title`` names the pass in a progress bar."""
        ...


class ArrayFeatures:
    """Features in memory as a stream.

    Args:
        features: shape (N, H * W, d).
        labels: shape (N,), or None.
        size: (H, W); a column of positions by default.
    """

    def __init__(self, features: Tensor, labels: Tensor | None = None, *, size: tuple[int, int] | None = None) -> None:
        height, width = size or (features.shape[1], 1)
        self.features, self.labels = features, labels
        self.device = features.device
        self.shape = Shape(len(features), height, width, features.shape[2])

    def blocks(self, title: str) -> Iterator[Block]:
        """Yield views of the array."""
        del title
        step = max(1, BLOCK_ROWS // self.shape.positions)
        labels = [None] * len(self.features) if self.labels is None else self.labels.split(step)
        for features, own in zip(self.features.split(step), labels, strict=False):
            yield Block(features, own)


class ProjectedFeatures:
    """A stream after a 1x1 convolution with weight (d', d) and bias (d',)."""

    def __init__(self, stream: FeatureStream, weight: Tensor, bias: Tensor) -> None:
        before = stream.shape
        self.stream, self.weight, self.bias = stream, weight, bias
        self.device = stream.device
        self.shape = Shape(before.images, before.height, before.width, len(weight))

    def blocks(self, title: str) -> Iterator[Block]:
        """Yield the projected maps."""
        for block in self.stream.blocks(title):
            weight, bias = (t.to(block.features) for t in (self.weight, self.bias))
            yield Block(F.linear(block.features, weight, bias), block.labels)


def shuffled_batches(
    stream: FeatureStream, *, batch_size: int, buffer_rows: int, seed: int, title: str
) -> Iterator[Tensor]:
    """Yield all positions once, in batches (batch_size, d) that mix the positions of many images.

    The last batch may be smaller; ``buffer_rows`` is the number of rows that are in memory and mixed at a time.
    """
    generator = torch.Generator().manual_seed(seed)
    held: list[Tensor] = []
    rows = 0
    for block in stream.blocks(title):
        # A larger block is split, so that memory is bounded by the buffer.
        for part in block.features.flatten(0, 1).split(buffer_rows):
            held.append(part)
            rows += len(part)
            if rows >= buffer_rows:
                *whole, rest = _mixed(held, generator).split(batch_size)
                held = [rest] if len(rest) < batch_size else []
                rows = sum(map(len, held))
                yield from whole
                if not held:
                    yield rest
    if held:
        yield from _mixed(held, generator).split(batch_size)


def _mixed(parts: list[Tensor], generator: torch.Generator) -> Tensor:
    rows = torch.cat(parts)
    return rows[torch.randperm(len(rows), generator=generator).to(rows.device)]
