"""Transforms on the input of a teacher's projection, for losses that read the projection's output."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torchdistill.common.module_util import get_module

from ..teacher_hooks import TeacherHooks

Change = Callable[[Tensor], Tensor]


class BeforeProjection(TeacherHooks):
    """Hooks that change a teacher's raw features before its projections.

    A mask of the teacher's features belongs before a projection, but only the projection's output is captured, so a
    forward pre-hook on the projection applies it. A copy of the loss connects to its own teacher.
    """

    def connect(self, teacher: nn.Module, changes: Mapping[str, Sequence[Change]]) -> None:
        """Register the hooks on ``teacher`` and remove them from any other; calling it twice is harmless.

        ``changes`` maps the path of a projection to the functions applied to its input, in order. Another loss must not
        change the input of the same projection.
        """
        if self.teacher is teacher:
            return
        self.disconnect()
        modules = {path: get_module(teacher, path) for path in changes}
        for path, module in modules.items():
            if any(isinstance(hook, _ChangeInput) for hook in module._forward_pre_hooks.values()):
                raise ValueError(
                    f"two terms of the criterion transform the input of the teacher's projection {path!r}: give each "
                    "term its own projection, or use the transform in only one of them"
                )
        handles = [modules[path].register_forward_pre_hook(_ChangeInput(steps)) for path, steps in changes.items()]
        self._own(teacher, handles)


class _ChangeInput:
    """A forward pre-hook that changes the first argument."""

    def __init__(self, changes: Sequence[Change]) -> None:
        self.changes = changes

    def __call__(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        raw, *others = args
        for change in self.changes:
            raw = change(raw)
        return (raw, *others)
