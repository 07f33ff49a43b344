"""Channel that passes the teacher's tensors of the current batch to the student's forward pass."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from ...models.points.probe import Place, submodule, watch
from ..teacher_hooks import TeacherHooks

MODEL_OUTPUT: Place = (".", "output")


class TeacherChannel(TeacherHooks):
    """Pass tensors of a teacher to the student's side; each can be taken once per batch.

    torchdistill runs the teacher first and passes its tensors only to the criterion, so the channel captures them with
    forward hooks, except in inference mode, which is for evaluations.
    """

    def __init__(self) -> None:
        super().__init__()
        self._values: dict[Place, Any] = {}
        self._places: tuple[Place, ...] = ()

    def connect(self, teacher: nn.Module, places: Iterable[Place] = (MODEL_OUTPUT,)) -> None:
        """Capture the tensors at ``places`` of ``teacher`` and of no other model; calling it twice is harmless."""
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
        return watch(submodule(teacher, path), io, keep)

    def disconnect(self) -> None:
        """Remove the hooks and the captured tensors."""
        super().disconnect()
        self._places, self._values = (), {}

    def take(self, place: Place = MODEL_OUTPUT) -> Any:
        """Return and remove a tensor of the teacher's last forward pass; None if it was taken or never captured."""
        return self._values.pop(place, None)
