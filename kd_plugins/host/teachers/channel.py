"""What the teacher has just computed, for parts of the student that need it during the student's forward pass."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from ..teacher_hooks import TeacherHooks

Place = tuple[str, str]
"""Path of a module, ``"."`` for the model itself, and ``"input"`` or ``"output"``."""

MODEL_OUTPUT: Place = (".", "output")


class TeacherChannel(TeacherHooks):
    """Takes tensors of a teacher to the student's side, each of one batch and once.

    torchdistill runs the teacher first and hands its tensors to the criterion alone. The channel listens to the
    teacher through forward hooks. What an evaluation in inference mode computes is not for the student and is not kept.
    """

    def __init__(self) -> None:
        super().__init__()
        self._values: dict[Place, Any] = {}
        self._places: tuple[Place, ...] = ()

    def connect(self, teacher: nn.Module, places: Iterable[Place] = (MODEL_OUTPUT,)) -> None:
        """Listen to ``teacher`` from now on, and to no other; doing it twice changes nothing.

        Args:
            teacher: the model that the paths start from.
            places: what to hear; the model's output by default.
        """
        places = tuple(dict.fromkeys(places))
        if self.teacher is teacher and self._places == places:
            return
        self.disconnect()
        self._places = places
        self._own(teacher, [self._listen(teacher, place) for place in places])

    def _listen(self, teacher: nn.Module, place: Place) -> Any:
        listener = weakref.ref(self)

        def keep(value: Any) -> None:
            channel = listener()
            if channel is not None and not torch.is_inference_mode_enabled():
                channel._values[place] = value

        path, io = place
        module = teacher if path == "." else teacher.get_submodule(path)
        if io == "input":
            return module.register_forward_pre_hook(lambda _module, inputs: keep(inputs[0]))
        return module.register_forward_hook(lambda _module, _inputs, output: keep(output))

    def disconnect(self) -> None:
        """Remove the hooks and forget what was heard."""
        super().disconnect()
        self._places, self._values = (), {}

    def take(self, place: Place = MODEL_OUTPUT) -> Any:
        """Return what the teacher's last forward pass had at a place and forget it; None when there was none since."""
        return self._values.pop(place, None)
