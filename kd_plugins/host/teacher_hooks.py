"""Base class for hooks on a teacher that an object on the student's side owns."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

from torch import nn
from torch.utils.hooks import RemovableHandle


class TeacherHooks:
    """Own hooks on one teacher; remove them on connecting to another teacher and on deletion.

    The teacher is held by weak reference, so it is neither saved nor copied with it. A copy is not connected.
    """

    def __init__(self) -> None:
        self._teacher: weakref.ref[nn.Module] | None = None
        self._remove: weakref.finalize | None = None

    @property
    def teacher(self) -> nn.Module | None:
        """The model with the hooks; None if there is none or it was deleted."""
        return None if self._teacher is None else self._teacher()

    def disconnect(self) -> None:
        """Remove the hooks."""
        if self._remove is not None:
            self._remove()
        self._remove = self._teacher = None

    def _own(self, teacher: nn.Module, handles: Iterable[RemovableHandle]) -> None:
        self._teacher = weakref.ref(teacher)
        self._remove = weakref.finalize(self, _remove_all, list(handles))

    def __deepcopy__(self, memo: dict[int, Any]) -> TeacherHooks:
        return type(self)()

    def __reduce__(self) -> tuple[type[TeacherHooks], tuple[()]]:
        return type(self), ()


def _remove_all(handles: list[RemovableHandle]) -> None:
    for handle in handles:
        handle.remove()
