"""Memory of callables, counted in tensors: exact, and the same on every device."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Follows the storages that operations make, from their birth to their end.

    Args:
        given: tensors that exist already; they are not counted.

    Attributes:
        live: bytes of what exists now.
        peak: the most that ``live`` has been.
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
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._count(leaf.untyped_storage())
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
    """Follows what autograd saves for backward passes while it is a context, each storage once.

    Args:
        given: tensors that exist anyway; they are not counted.

    Attributes:
        live: bytes that are saved now.
        peak: the most that ``live`` has been.

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
    """Keeps a saved tensor for as long as autograd keeps the holder."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


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
    """Return the most memory that the tensors of ``run`` take at one time, without those given to it.

    What an operation uses inside itself is not seen, nor what numpy does. On the CPU the numbers of five losses were
    those of torch's memory profiler.

    Args:
        run: forward and, where it has one, backward pass.
        given: inputs, which exist anyway.

    Example:
        >>> x = torch.ones(256)
        >>> peak_bytes(lambda: x.exp().log().sum(), given=(x,))  # exp and log, 1024 each, before exp is freed
        2048
    """
    with LiveBytes(given) as counted:
        run()
    return counted.peak


def bytes_kept_for_backward(forward: Callable[[], Tensor], *, given: tuple[Tensor, ...]) -> int:
    """Return the size of what a forward pass keeps for the backward pass, without the tensors given to it.

    Args:
        forward: returns a tensor with a graph.
        given: inputs, which exist anyway.

    Example:
        >>> x = torch.ones(256, requires_grad=True)
        >>> bytes_kept_for_backward(lambda: x.exp().sum(), given=(x,))
        1024
    """
    owned = {x.untyped_storage().data_ptr() for x in given}
    kept: dict[int, int] = {}

    def note(x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        if storage.data_ptr() not in owned:
            kept[storage.data_ptr()] = storage.nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
        result = forward()
    del result  # its graph held the storages, so that no address was used twice
    return sum(kept.values())
