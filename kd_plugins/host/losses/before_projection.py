"""Transforms of what a teacher's projection takes, for losses that read what it gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torchdistill.common.module_util import get_module

from ..teacher_hooks import TeacherHooks

Change = Callable[[Tensor], Tensor]


class BeforeProjection(TeacherHooks):
    """Hooks that change a teacher's raw features before its projections.

    Some losses compare features that trained projections bring to one size. A mask of the teacher's features belongs
    before the projection, where no captured tensor is any more: so it is put on the projection itself, as a hook on
    its input. A copy of the loss connects to its own teacher.
    """

    def connect(self, teacher: nn.Module, changes: Mapping[str, Sequence[Change]]) -> None:
        """Put the hooks on ``teacher``, and take them off another; doing it twice changes nothing.

        Args:
            teacher: the model, or wrapper, that module paths start from.
            changes: path of a projection -> what is done to its input, in order.

        Raises:
            ValueError: when another loss changes the input of the same projection.
        """
        if self.teacher is teacher:
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
