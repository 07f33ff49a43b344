"""Cache of features between passes, in memory or in a temporary file."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from .artefact import StatisticsError
from .streaming import Block, FeatureStream, Shape

CACHES = ("auto", "memory", "disk", "off")
MEMORY_SHARE = 0.5
"""Share of the memory budget for cached features; the rest is for computation."""
DISK_BYTES_PER_SECOND = 200e6
"""Assumed disk speed for the choice between a cache file and running the teacher again."""


class DiskStore:
    """Blocks of features in a temporary file without a name, which disappears with the process.

    It is read by copies of one block, not by a memory map: a map would count as memory of the process.
    """

    def __init__(self, shape: Shape, folder: Path) -> None:
        self.shape, self.folder = shape, folder
        self.starts: list[int] = [0]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by clear()
        except OSError as error:
            raise self._failed(error) from error

    def append(self, features: Tensor) -> None:
        """Write a block at the end."""
        try:
            self.file.write(np.ascontiguousarray(features, dtype=np.float32).data)
        except OSError as error:
            raise self._failed(error) from error
        self.starts.append(self.starts[-1] + features.numel())

    def __getitem__(self, number: int) -> Tensor:
        start, stop = self.starts[number : number + 2]
        self.file.seek(4 * start)
        rows = np.fromfile(self.file, np.float32, stop - start)
        return torch.from_numpy(rows).view(-1, self.shape.positions, self.shape.channels)

    def clear(self) -> None:
        """Remove the file."""
        self.file.close()

    def _failed(self, error: OSError) -> StatisticsError:
        return StatisticsError(
            f"features cannot be kept in a file in {self.folder} ({self.shape.bytes / 2**30:.1f} GiB): {error}; make "
            "room, or run the teacher again for every pass with --cache off"
        )


class KeptFeatures:
    """A stream that stores its blocks in the first pass, and reads the same blocks from the store in later passes."""

    def __init__(self, stream: FeatureStream, store: DiskStore | list[Tensor]) -> None:
        self.stream, self.store = stream, store
        self.shape, self.device = stream.shape, stream.device
        self.labels: list[Tensor | None] = []
        self.complete = False

    def blocks(self, title: str) -> Iterator[Block]:
        """Yield the blocks, from the store once it is complete."""
        if self.complete:
            for number, labels in enumerate(self.labels):
                yield Block(self.store[number].to(self.device), labels)
            return
        if self.labels:
            raise StatisticsError("the first pass, which fills the cache, ended early; start the fit again")
        for block in self.stream.blocks(title):
            self.store.append(block.features.cpu())
            self.labels.append(block.labels)
            yield block
        self.complete = True


class Cache:
    """Context that decides which features are stored between passes, and frees them at the end.

    The choice changes the time of a fit, never its result. ``budget`` is in bytes.
    """

    def __init__(self, mode: str, *, budget: int, folder: Path) -> None:
        self.mode, self.budget, self.folder = mode, budget, folder
        self.stores: list[DiskStore | list[Tensor]] = []

    def __enter__(self) -> Cache:
        return self

    def __exit__(self, *_: object) -> None:
        for store in self.stores:
            store.clear()

    def of_teacher(self, stream: FeatureStream) -> FeatureStream:
        """Store the teacher's own features if memory allows it, so that the teacher runs once."""
        return self._keep(stream, []) if self._fits_memory(stream.shape) else stream

    def of_projection(self, stream: FeatureStream, source: Any, *, passes: int) -> FeatureStream:
        """Store projected features for some passes, unless those before the projection, ``source``, are stored.

        The ``seconds`` of ``source`` are those of its last pass, if known.
        """
        if self.mode == "off" or isinstance(source, KeptFeatures):
            return stream
        if self._fits_memory(stream.shape):
            return self._keep(stream, [])
        if self.mode == "memory":
            raise StatisticsError(
                f"--cache memory: {stream.shape.bytes / 2**30:.2f} GiB of projected features are more than "
                f"{MEMORY_SHARE:.0%} of the memory budget of {self.budget / 2**30:.2f} GiB; raise --memory-budget, "
                "or use --cache auto, disk or off"
            )
        if self.mode == "disk" or self._disk_pays(stream.shape, getattr(source, "seconds", None), passes):
            return self._keep(stream, DiskStore(stream.shape, self.folder))
        return stream

    def _keep(self, stream: FeatureStream, store: DiskStore | list[Tensor]) -> KeptFeatures:
        self.stores.append(store)
        return KeptFeatures(stream, store)

    def _fits_memory(self, shape: Shape) -> bool:
        return self.mode in ("auto", "memory") and shape.bytes <= MEMORY_SHARE * self.budget

    def _disk_pays(self, shape: Shape, seconds: float | None, passes: int) -> bool:
        """Compare one write and ``passes - 1`` reads with ``passes - 1`` runs of the teacher."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(self.folder).free < 1.1 * shape.bytes:
            return False
        again = float("inf") if seconds is None else (passes - 1) * seconds
        return passes * shape.bytes / DISK_BYTES_PER_SECOND < again
