"""Features of all images, in memory or in temporary files."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..._errors import ConfigError

ROWS = 256
"""Samples that are computed at a time."""


class FeatureStore:
    """Tensors that are filled batch by batch: as they are, while they fit a budget, and else as float16 in files.

    A file has no name: it disappears when its tensor is freed, and with the process.

    Args:
        budget: bytes of memory for all tensors.

    Example:
        >>> store = FeatureStore(budget=100)
        >>> for batch in torch.arange(60.0).split(20):
        ...     store.append("a", batch, samples=60)
        >>> store.append("b", torch.ones(10), samples=10)
        >>> store.pop("a").dtype, store.pop("b").dtype
        (torch.float16, torch.float32)
    """

    def __init__(self, budget: int) -> None:
        self.free = budget
        self.filled: dict[Any, list[Tensor] | _File] = {}

    def append(self, key: Any, batch: Tensor, *, samples: int) -> None:
        """Append a batch (B, ...) to the tensor of a key, which will have ``samples`` rows.

        Raises:
            ConfigError: if a file cannot be written, usually because the disk is full.
        """
        if key not in self.filled:
            size = samples * batch[0].numel() * batch.element_size()
            self.filled[key] = [] if size <= self.free else _File(size // batch.element_size() * 2)
            if isinstance(self.filled[key], list):
                self.free -= size
        self.filled[key].append(batch.cpu())

    def pop(self, key: Any) -> Tensor:
        """Return a tensor; the store keeps it no longer."""
        parts = self.filled.pop(key)
        if isinstance(parts, _File):
            return parts.tensor()
        whole = torch.cat(parts)
        weakref.finalize(whole, self._release, whole.nbytes)
        return whole

    def mapped(self, function: Callable[[Tensor], Tensor], features: Tensor) -> Tensor:
        """Return a function of features, computed on some samples at a time, in memory or in a file."""
        for part in chunks(features):
            self.append(function, function(part), samples=len(features))
        return self.pop(function)

    def _release(self, size: int) -> None:
        self.free += size


class _File:
    def __init__(self, size: int) -> None:
        self.size, self.shape = size, (0,)
        self.file = self._checked(tempfile.TemporaryFile)
        weakref.finalize(self, self.file.close)

    def append(self, batch: Tensor) -> None:
        values = batch.half().contiguous().numpy()
        self._checked(lambda: self.file.write(values.data))
        self.shape = (self.shape[0] + len(batch), *batch.shape[1:])

    def tensor(self) -> Tensor:
        """Return the features; the file is read as they are used."""
        self._checked(self.file.flush)
        # Mode "c": torch wants arrays that can be written; the file does not change. The map outlives the open file.
        return torch.from_numpy(np.memmap(self.file, np.float16, mode="c", shape=self.shape))

    def _checked(self, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except OSError as error:
            raise ConfigError(
                f"a feature cannot be kept in a file in {tempfile.gettempdir()} ({self.size / 2**30:.1f} GiB): "
                f"{error.strerror}; make room, set TMPDIR to another folder, or raise --memory-budget"
            ) from error


def chunks(tensor: Tensor) -> Iterator[Tensor]:
    """Yield some samples at a time, as float32."""
    for part in tensor.split(ROWS):
        yield part.float()


def mean_over_samples(tensor: Tensor) -> Tensor:
    """Return the mean over the first dimension, without a copy of all samples."""
    return (torch.stack([part.double().sum(0) for part in chunks(tensor)]).sum(0) / len(tensor)).float()
