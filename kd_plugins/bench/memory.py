"""Memory of callables, counted in tensor storages: exact, and the same on every device."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Context that counts the storages that operations allocate, until they are freed, without those of ``given``.

    Attributes:
        live: bytes that are allocated now.
        peak: largest value of ``live`` so far.
    """

    def __init__(self, given: Sequence[Tensor]) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known = {x.untyped_storage()._cdata for x in given}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operation and count the storages of its results."""
        result = func(*args, **(kwargs or {}))
        for tensor in tensors_in(result):
            self._count(tensor.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return
        self._known.add(key)
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.live -= size


class SavedBytes(torch.autograd.graph.saved_tensors_hooks):
    """Context that counts what autograd saves for backward passes, each storage once, without those of ``given``.

    Attributes:
        live: bytes that are saved now.
        peak: largest value of ``live`` so far.

    Example:
        >>> x = torch.ones(256, requires_grad=True)
        >>> saved = SavedBytes(given=(x,))
        >>> with saved:
        ...     x.exp().sum().backward()
        >>> saved.peak, saved.live
        (1024, 0)
    """

    def __init__(self, given: Sequence[Tensor]) -> None:
        self.live = self.peak = 0
        self._known = {x.untyped_storage()._cdata for x in given}
        self._holders: dict[int, int] = {}
        super().__init__(self._pack, lambda held: held.tensor)

    def _pack(self, x: Tensor) -> _Holder:
        holder, storage = _Holder(x), x.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self._known:
            if key not in self._holders:
                self.live += size
                self.peak = max(self.peak, self.live)
            self._holders[key] = self._holders.get(key, 0) + 1
            weakref.finalize(holder, self._forget, key, size)
        return holder

    def _forget(self, key: int, size: int) -> None:
        self._holders[key] -= 1
        if not self._holders[key]:
            del self._holders[key]
            self.live -= size


class _Holder:
    """A saved tensor; autograd keeps the holder for as long as it needs the tensor."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def tensors_in(tree: Any) -> list[Tensor]:
    """Return the tensors in nested containers."""
    return [x for x in tree_leaves(tree) if isinstance(x, Tensor)]


def bytes_of(tensors: Iterable[Tensor]) -> int:
    """Return the size of the tensors, each storage once.

    Example:
        >>> x = torch.ones(256)
        >>> bytes_of([x, x[:8]])
        1024
    """
    storages = {s._cdata: s.nbytes() for s in (x.untyped_storage() for x in tensors)}
    return sum(storages.values())


def peak_bytes(run: Callable[[], object], *, given: Sequence[Tensor]) -> int:
    """Return the peak memory of the tensors of ``run``, without those given to it.

    Memory that an operation uses internally is not counted, nor is numpy's. On the CPU, the numbers of five losses
    were those of torch's memory profiler.

    Example:
        >>> x = torch.ones(256)
        >>> peak_bytes(lambda: x.exp().log().sum(), given=(x,))  # exp and log, 1024 each, before exp is freed
        2048
    """
    with LiveBytes(given) as counted:
        run()
    return counted.peak


def bytes_kept_for_backward(run: Callable[[], object], *, given: Sequence[Tensor]) -> int:
    """Return the most bytes that ``run`` keeps for a backward pass, without the tensors given to it.

    Example:
        >>> x = torch.ones(256, requires_grad=True)
        >>> bytes_kept_for_backward(lambda: x.exp().sum(), given=(x,))
        1024
    """
    saved = SavedBytes(given)
    with saved:
        run()
    return saved.peak
