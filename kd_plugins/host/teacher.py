"""A teacher wrapper that keeps the teacher as it is and feeds it what it was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .._checks import check_choice
from ..models import freeze, pretrained_input
from ..models.point_entries import PointEntry
from .transparent import TransparentWrapper

INTERPOLATIONS = ("bicubic", "bilinear")


class FrozenTeacher(TransparentWrapper):
    """Run a teacher in eval mode, without gradient, on its own normalisation and input size.

    Teacher and student get one batch, normalised (and sized) for the student. With ``student_mean`` and
    ``student_std`` the wrapper maps it to the teacher's mean and standard deviation, and with ``input_size``
    to the teacher's resolution. Where both sides agree the batch passes through untouched.

    Module paths and the state dict are the wrapped teacher's: ``forward_hook`` paths need no prefix.

    Args:
        teacher_model: the teacher, given by torchdistill.
        device: given by torchdistill; unused, as the box moves the wrapper.
        device_ids: given by torchdistill; unused, as a frozen model has nothing to synchronise.
        distributed: given by torchdistill; unused for the same reason.
        student_mean: mean per channel that the data loader subtracts.
        student_std: standard deviation per channel that the data loader divides by.
        mean: the teacher's own mean; a timm model's is known (its ``pretrained_cfg``).
        std: the teacher's own standard deviation; likewise.
        input_size: height and width that the teacher wants, or one number for both; None keeps the batch's.
        interpolation: ``"bicubic"`` or ``"bilinear"``.
        antialias: low-pass filter when shrinking, as image libraries do.
        points: tensors of the teacher to show as maps (B, c, H, W) at the paths ``points.<name>``, as in
            :class:`~kd_plugins.host.feature_students.FeatureStudent`.
        probe_size: height and width, or one number, of the images that reach the teacher, where they are neither
            ``input_size`` nor the model's own; only ``points`` needs it.

    Raises:
        ValueError: when only half of a normalisation is known, a value is out of range, or the teacher lacks a point.

    Example:
        >>> import torch
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
        points: Sequence[PointEntry] = (),
        probe_size: int | Sequence[int] | None = None,
    ) -> None:
        check_choice("interpolation", interpolation, INTERPOLATIONS)
        super().__init__(freeze(teacher_model))
        self.input_size = _size(input_size)
        self.interpolation = interpolation
        self.antialias = antialias
        affine = _affine(teacher_model, student_mean, student_std, mean, std)
        self.renormalises = affine is not None
        scale, shift = affine if affine is not None else (torch.ones(1, 1, 1), torch.zeros(1, 1, 1))
        self.register_buffer("scale", scale, persistent=False)
        self.register_buffer("shift", shift, persistent=False)
        if points:
            self.show_points(points, probe_size=self.input_size or probe_size)
        self.eval()

    def train(self, mode: bool = True) -> FrozenTeacher:
        """Stay in eval mode, whatever is asked."""
        del mode
        super().train(False)
        return self

    def prepare(self, batch: Tensor) -> Tensor:
        """Map a batch (B, c, H, W) of the student to what the teacher was trained on."""
        if self.renormalises:
            batch = torch.addcmul(self.shift, batch, self.scale)
        if self.input_size is not None and tuple(batch.shape[-2:]) != self.input_size:
            batch = F.interpolate(
                batch, self.input_size, mode=self.interpolation, align_corners=False, antialias=self.antialias
            )
        return batch

    @torch.no_grad()
    def forward(self, batch: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Run the teacher on its own view of the batch (B, c, H, W)."""
        return self.teacher_model(self.prepare(batch), *args, **kwargs)

    def extra_repr(self) -> str:
        """Show what is done to the batch."""
        return f"renormalises={self.renormalises}, input_size={self.input_size}"


def _size(input_size: int | Sequence[int] | None) -> tuple[int, int] | None:
    if input_size is None:
        return None
    size = (input_size, input_size) if isinstance(input_size, int) else tuple(input_size)
    if len(size) != 2 or not all(isinstance(n, int) and n > 0 for n in size):
        raise ValueError(
            f"input_size must be a number of pixels or [height, width], each above 0, found {input_size!r}"
        )
    return size


def _affine(
    teacher: nn.Module,
    student_mean: Sequence[float] | None,
    student_std: Sequence[float] | None,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
) -> tuple[Tensor, Tensor] | None:
    """Return scale and shift, (c, 1, 1) each, from the student's normalisation to the teacher's."""
    if student_mean is None and student_std is None:
        if mean is not None or std is not None:
            raise ValueError(
                "mean and std are the teacher's normalisation; give student_mean and student_std too, "
                "what the data loader normalises with"
            )
        return None
    own = pretrained_input(teacher)
    if own is not None:
        mean = own.mean if mean is None else mean
        std = own.std if std is None else std
    given = {"student_mean": student_mean, "student_std": student_std, "mean": mean, "std": std}
    missing = [name for name, value in given.items() if value is None]
    if missing:
        raise ValueError(
            f"{', '.join(missing)} must be given to renormalise: the teacher ({type(teacher).__name__}) does "
            "not tell its own normalisation, or only half of the student's was given"
        )
    s_mean, s_std, t_mean, t_std = (_per_channel(name, value) for name, value in given.items())
    if (s_mean, s_std) == (t_mean, t_std):
        return None
    channels = {len(values) for values in (s_mean, s_std, t_mean, t_std)}
    if len(channels) != 1:
        raise ValueError(
            "student_mean, student_std, mean and std must have one entry a channel each, found "
            + ", ".join(f"{len(v)}" for v in (s_mean, s_std, t_mean, t_std))
        )
    columns = torch.tensor([s_mean, s_std, t_mean, t_std], dtype=torch.float64)[..., None, None]
    scale = columns[1] / columns[3]
    shift = (columns[0] - columns[2]) / columns[3]
    return scale.float(), shift.float()


def _per_channel(name: str, values: Any) -> list[float]:
    if isinstance(values, (str, Mapping)) or not isinstance(values, Sequence) or not values:
        raise ValueError(f"{name} must be a list of numbers, one a channel, found {values!r}")
    numbers = [float(value) for value in values]
    if name.endswith("std") and min(numbers) <= 0:
        raise ValueError(f"{name} must be above 0 in every channel, found {numbers}")
    return numbers
