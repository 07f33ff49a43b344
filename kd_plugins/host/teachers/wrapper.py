"""Teacher wrapper that freezes the teacher and maps batches to the teacher's own normalisation and size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...models import freeze
from ...models.logits import LogitsKey, give_logits
from ...models.points.entries import PointEntry
from ...models.teacher_input import TeacherInput, input_of
from ..transparent import TransparentWrapper


class FrozenTeacher(TransparentWrapper):
    """Run a teacher in eval mode, without gradient, on its own normalisation and input size.

    Teacher and student get the same batch, normalised and sized for the student. With ``student_mean`` and
    ``student_std`` the wrapper maps it to the teacher's mean and standard deviation, and with ``input_size`` to the
    teacher's resolution. If both sides agree, the batch does not change. The model
    :func:`~kd_plugins.host.teachers.model.frozen_teacher` does the same under scripts without wrappers.

    Module paths and the state dict are the wrapped teacher's: ``forward_hook`` paths need no prefix.

    Args:
        teacher_model: the teacher, given by torchdistill like ``device``, ``device_ids`` and ``distributed`` (unused).
        student_mean: mean per channel that the data loader subtracts.
        student_std: standard deviation per channel that the data loader divides by.
        mean: the teacher's own mean; a timm model's is known (its ``pretrained_cfg``).
        std: the teacher's own standard deviation; likewise.
        input_size: height and width that the teacher wants, or one number for both; None keeps the batch's.
        interpolation: ``"bicubic"`` or ``"bilinear"``.
        antialias: low-pass filter when shrinking, as image libraries do.
        logits: key, attribute or index of the logits, for a teacher that returns several outputs.
        points: tensors of the teacher to show as maps (B, c, H, W) at the paths ``points.<name>``, as in
            :class:`~kd_plugins.host.students.feature.FeatureStudent`.
        probe_size: height and width, or one number, of the images that reach the teacher, where they are neither
            ``input_size`` nor the model's own; only ``points`` needs it.

    Raises:
        ValueError: if a normalisation is incomplete, a value is out of range, the teacher lacks a point, or the teacher
            is a ``frozen_teacher`` that prepares its own batches.

    Example:
        >>> from torch import nn
        >>> teacher = FrozenTeacher(nn.Flatten(), student_mean=[0.5], student_std=[0.5], mean=[0.0], std=[1.0])
        >>> teacher(torch.full((1, 1, 1, 1), 0.2))  # 0.2 * 0.5 + 0.5
        tensor([[0.6000]])
    """

    inside = "teacher_model"

    def __init__(
        self,
        teacher_model: nn.Module,
        device: torch.device | None = None,
        device_ids: list[int] | None = None,
        distributed: bool = False,
        *,
        student_mean: Sequence[float] | None = None,
        student_std: Sequence[float] | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        input_size: int | Sequence[int] | None = None,
        interpolation: str = "bicubic",
        antialias: bool = True,
        logits: LogitsKey | None = None,
        points: Sequence[PointEntry] = (),
        probe_size: int | Sequence[int] | None = None,
    ) -> None:
        super().__init__(freeze(teacher_model))
        self.teacher_input = TeacherInput(
            teacher_model, student_mean=student_mean, student_std=student_std, mean=mean, std=std,
            input_size=input_size, interpolation=interpolation, antialias=antialias,
        )  # fmt: skip
        if logits is not None:
            give_logits(teacher_model, logits)
        if points:
            prepared = (self.teacher_input, input_of(teacher_model))
            size = next((own.input_size for own in prepared if own is not None and own.input_size), probe_size)
            self.show_points(points, probe_size=size)
        self.eval()

    def train(self, mode: bool = True) -> FrozenTeacher:
        """Stay in eval mode; ``mode`` is ignored."""
        del mode
        super().train(False)
        return self

    def prepare(self, batch: Tensor) -> Tensor:
        """Map a batch (B, c, H, W) to the teacher's normalisation and size."""
        return self.teacher_input(batch)

    @torch.no_grad()
    def forward(self, batch: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Run the teacher on its own view of the batch (B, c, H, W)."""
        return self.teacher_model(self.prepare(batch), *args, **kwargs)
