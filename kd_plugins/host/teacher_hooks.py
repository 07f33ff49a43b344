"""Hooks on a teacher that belong to something on the student's side."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

from torch import nn
from torch.utils.hooks import RemovableHandle


class TeacherHooks:
    """Owns hooks on one teacher at a time and removes them when it connects to another one or goes.

    It is no module and holds the teacher by weak reference, so that the teacher is neither saved nor copied with it. A
    copy is connected to nothing.
    """

    def __init__(self) -> None:
        self._teacher: weakref.ref[nn.Module] | None = None
        self._remove: weakref.finalize | None = None

    @property
    def teacher(self) -> nn.Module | None:
        """The model with the hooks; None where there is none, or it is gone."""
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
