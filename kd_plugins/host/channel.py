"""What the teacher has just computed, for parts of the student that need it during the student's forward pass."""

from __future__ import annotations

import weakref
from typing import Any

from torch import nn


class TeacherChannel:
    """Takes a teacher's output of one batch to the student's side, once.

    torchdistill runs the teacher first and hands its tensors to the criterion alone. The channel listens to the
    teacher through a forward hook that it owns: reconnecting or dropping the channel removes it. It is no module and
    holds the teacher weakly, so that neither is saved or copied with the student.
    """

    def __init__(self) -> None:
        self._value: Any = None
        self._teacher: weakref.ref[nn.Module] | None = None
        self._remove: weakref.finalize | None = None

    def connect(self, teacher: nn.Module) -> None:
        """Listen to ``teacher`` from now on, and to no other; doing it twice changes nothing."""
        if self._teacher is not None and self._teacher() is teacher:
            return
        self.disconnect()
        listener = weakref.ref(self)

        def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
            channel = listener()
            if channel is not None:
                channel._value = output

        handle = teacher.register_forward_hook(keep)
        self._teacher = weakref.ref(teacher)
        self._remove = weakref.finalize(self, handle.remove)

    def disconnect(self) -> None:
        """Remove the hook and forget what was heard."""
        if self._remove is not None:
            self._remove()
        self._remove = self._teacher = self._value = None

    def take(self) -> Any:
        """Return the output of the teacher's last forward pass and forget it; None when there was none since."""
        value, self._value = self._value, None
        return value

    def __deepcopy__(self, memo: dict[int, Any]) -> TeacherChannel:
        return type(self)()

    def __reduce__(self) -> tuple[type[TeacherChannel], tuple[()]]:
        return type(self), ()
