"""Transforms of what a teacher's projection takes, for losses that read what it gives."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torchdistill.common.module_util import get_module

Change = Callable[[Tensor], Tensor]


class BeforeProjection:
    """Hooks that change a teacher's raw features before its projections; it owns them.

    Some losses compare features that trained projections bring to one size. A mask of the teacher's features belongs
    before the projection, where no captured tensor is any more: so it is put on the projection itself, as a hook on
    its input. The object is no module and is not copied with the loss: a copy is connected to its own teacher.
    """

    def __init__(self) -> None:
        self._teacher: weakref.ref[nn.Module] | None = None
        self._remove: weakref.finalize | None = None

    @property
    def connected(self) -> bool:
        """Whether the hooks lie on a teacher that still exists."""
        return self._teacher is not None and self._teacher() is not None

    def connect(self, teacher: nn.Module, changes: Mapping[str, Sequence[Change]]) -> None:
        """Put the hooks on ``teacher``, and take them off another; doing it twice changes nothing.

        Args:
            teacher: the model, or wrapper, that module paths start from.
            changes: path of a projection -> what is done to its input, in order.

        Raises:
            ValueError: when another loss changes the input of the same projection.
        """
        if self._teacher is not None and self._teacher() is teacher:
            return
        self.disconnect()
        modules = {path: get_module(teacher, path) for path in changes}
        for path, module in modules.items():
            if any(isinstance(hook, _ChangeInput) for hook in module._forward_pre_hooks.values()):
                raise ValueError(
                    f"two terms of the criterion transform the input of the teacher's projection {path!r}, which "
                    "exists once: give each term a projection of its own, or transform it in one of them alone"
                )
        handles = [modules[path].register_forward_pre_hook(_ChangeInput(steps)) for path, steps in changes.items()]
        self._teacher = weakref.ref(teacher)
        self._remove = weakref.finalize(self, _remove_all, handles)

    def disconnect(self) -> None:
        """Remove the hooks."""
        if self._remove is not None:
            self._remove()
        self._remove = self._teacher = None

    def __deepcopy__(self, memo: dict[int, Any]) -> BeforeProjection:
        return type(self)()

    def __reduce__(self) -> tuple[type[BeforeProjection], tuple[()]]:
        return type(self), ()


class _ChangeInput:
    """A forward pre-hook that changes the first argument."""

    def __init__(self, changes: Sequence[Change]) -> None:
        self.changes = changes

    def __call__(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        raw, *others = args
        for change in self.changes:
            raw = change(raw)
        return (raw, *others)


def _remove_all(handles: Sequence[Any]) -> None:
    for handle in handles:
        handle.remove()
