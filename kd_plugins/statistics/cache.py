"""Cache of features between passes, in memory or in a temporary file."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Protocol

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


class Store(Protocol):
    """Storage for blocks of rows that are written once in order, then read in slices."""

    def append(self, features: np.ndarray) -> None:
        """Add a block."""
        ...

    def read(self, start: int, stop: int) -> Tensor:
        """Return the images ``start`` to ``stop``."""
        ...

    def close(self) -> None:
        """Free the storage."""
        ...


class MemoryStore:
    """One array.

    Args:
        shape: of what will be kept.
    """

    def __init__(self, shape: Shape) -> None:
        self.array: Tensor | None = torch.empty(shape.images, shape.positions, shape.channels)
        self.filled = 0

    def append(self, features: np.ndarray) -> None:
        """Copy a block into the array."""
        self._open()[self.filled : self.filled + len(features)] = torch.from_numpy(features)
        self.filled += len(features)

    def read(self, start: int, stop: int) -> Tensor:
        """Return a view."""
        return self._open()[start:stop]

    def close(self) -> None:
        """Forget the array."""
        self.array = None

    def _open(self) -> Tensor:
        if self.array is None:
            raise StatisticsError("the cached features were already freed")
        return self.array


class DiskStore:
    """A temporary file without a name: it is gone when the process is, however that ends.

    It is written as a file, so that a full disk is an error and no crash, and read through memory maps of one slice
    each, so that the maps never count for more than a slice.

    Args:
        shape: of what will be kept.
        folder: where.
    """

    def __init__(self, shape: Shape, folder: Path) -> None:
        self.shape = shape
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by close()
        except OSError as error:
            raise self._failed(error) from error

    def append(self, features: np.ndarray) -> None:
        """Write a block at the end."""
        try:
            self.file.write(np.ascontiguousarray(features, dtype=np.float32).data)
        except OSError as error:
            raise self._failed(error) from error

    def read(self, start: int, stop: int) -> Tensor:
        """Return a copy of a slice."""
        self.file.flush()
        image = self.shape.positions * self.shape.channels
        mapped = np.memmap(
            self.file, np.float32, "r", offset=4 * image * start,
            shape=(stop - start, self.shape.positions, self.shape.channels),
        )  # fmt: skip
        return torch.from_numpy(np.array(mapped))

    def close(self) -> None:
        """Remove the file."""
        self.file.close()

    def _failed(self, error: OSError) -> StatisticsError:
        return StatisticsError(
            f"features cannot be kept in a file in {self.folder} ({self.shape.bytes / 2**30:.1f} GiB): {error}; make "
            "room, or run the teacher again for every pass with --cache off"
        )


class KeptFeatures:
    """A stream that remembers: the first whole pass fills the store, later passes read it.

    Args:
        stream: what is kept.
        store: where.
    """

    def __init__(self, stream: FeatureStream, store: Store) -> None:
        self.stream: FeatureStream | None = stream
        self.store = store
        self.shape = stream.shape
        self.device = stream.device
        self.sizes: list[int] = []
        self.labels: list[Tensor | None] = []
        self.complete = False

    def blocks(self, title: str) -> Iterator[Block]:
        """Yield the features, from the store as soon as it is filled."""
        if self.complete:
            yield from self._kept()
            return
        if self.stream is None or self.labels:
            raise StatisticsError("the first pass, which fills the cache, ended early; start the fit again")
        for block in self.stream.blocks(title):
            self.store.append(block.features.cpu().numpy())
            self.sizes.append(len(block.features))
            self.labels.append(block.labels)
            yield block
        self.complete, self.stream = True, None

    def close(self) -> None:
        """Give the store back."""
        self.store.close()

    def _kept(self) -> Iterator[Block]:
        # The same blocks as the first time: sums in another order would differ in their last bits.
        start = 0
        for size, labels in zip(self.sizes, self.labels, strict=True):
            yield Block(self.store.read(start, start + size).to(self.device), labels)
            start += size


class Cache:
    """Decides what is kept between passes, and gives it back at the end.

    What is kept changes the time that a fit takes, never its result.

    Args:
        mode: ``"auto"``, ``"memory"``, ``"disk"`` or ``"off"``.
        budget: bytes of memory.
        folder: for a temporary file.
    """

    def __init__(self, mode: str, *, budget: int, folder: Path) -> None:
        self.mode, self.budget, self.folder = mode, budget, folder
        self.kept: list[KeptFeatures] = []

    def __enter__(self) -> Cache:
        return self

    def __exit__(self, *_: object) -> None:
        for kept in self.kept:
            kept.close()

    def of_teacher(self, stream: FeatureStream) -> FeatureStream:
        """Keep the teacher's own features where memory allows it: it then runs once."""
        if self.mode in ("auto", "memory") and self._fits(stream.shape):
            return self._keep(stream, MemoryStore(stream.shape))
        return stream

    def of_projection(self, stream: FeatureStream, source: Any, *, passes: int) -> FeatureStream:
        """Keep projected features, unless those that they come from are kept.

        Args:
            stream: the projected features.
            source: what they are projected from; the seconds of its last pass are known, or None.
            passes: how often they will be gone through.
        """
        if self.mode == "off" or isinstance(source, KeptFeatures):
            return stream
        if self.mode in ("auto", "memory") and self._fits(stream.shape):
            return self._keep(stream, MemoryStore(stream.shape))
        if self.mode == "memory":
            raise StatisticsError(
                f"--cache memory: {stream.shape.bytes / 2**30:.2f} GiB of projected features are more than "
                f"{MEMORY_SHARE:.0%} of the memory budget of {self.budget / 2**30:.2f} GiB; raise --memory-budget, "
                "or use --cache auto, disk or off"
            )
        if self.mode == "disk" or self._disk_pays(stream.shape, getattr(source, "seconds", None), passes):
            return self._keep(stream, DiskStore(stream.shape, self.folder))
        return stream

    def _keep(self, stream: FeatureStream, store: Store) -> KeptFeatures:
        kept = KeptFeatures(stream, store)
        self.kept.append(kept)
        return kept

    def _fits(self, shape: Shape) -> bool:
        return shape.bytes <= MEMORY_SHARE * self.budget

    def _disk_pays(self, shape: Shape, seconds: float | None, passes: int) -> bool:
        """Weigh writing once and reading ``passes - 1`` times against running the teacher ``passes - 1`` times."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(self.folder).free < 1.1 * shape.bytes:
            return False
        again = float("inf") if seconds is None else (passes - 1) * seconds
        return passes * shape.bytes / DISK_BYTES_PER_SECOND < again
