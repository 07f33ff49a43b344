"""Student wrapper with CTKD's learned temperature."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..._checks import check_choice
from ...modules.temperature import GlobalTemperature, InstanceTemperature
from ..keep_in_graph import keep_in_graph
from ..teachers.channel import TeacherChannel
from ..transparent import TransparentWrapper

LEVELS = ("global", "instance")


class CTKDStudent(TransparentWrapper):
    """Give the student a temperature that is learned with it, for ``CTKDLoss``.

    In training, every forward pass also runs the submodule ``temperature``, whose output the config hooks for the loss.
    The student's output, module paths and state dict do not change; this package's trainer saves the temperature for an
    exact resume. In eval mode it is not computed.

    Args:
        student_model: the student, given by torchdistill like ``device``, ``device_ids`` and ``distributed`` (unused).
        level: ``"global"``, one temperature for all samples, or ``"instance"``, one per sample, from the logits of
            both models; the latter needs ``pre_epoch_process: kd_pre_epoch``.
        num_classes: number of logits; needed only for ``level="instance"``.
        hidden: hidden width of the network for ``level="instance"``.
        initial: initial input of the sigmoid.
        low: lowest temperature.
        spread: difference between the highest and the lowest temperature.
        lambda_max: factor on the temperature's gradient before the first epoch.
        lambda_min: factor from epoch ``loops`` on; a negative one makes distillation harder.
        loops: number of epochs of the cosine schedule between the two.

    Raises:
        ValueError: on an unknown level, or a value out of range.

    References:
        Li et al., Curriculum Temperature for Knowledge Distillation, AAAI 2023.

    Example:
        In a config::

            student:
              forward_proc: forward_batch_only
              auxiliary_model_wrapper: {key: CTKDStudent, kwargs: {level: global}}
              forward_hook: {output: [temperature]}
    """

    inside = "student_model"

    @classmethod
    def own_paths(cls, kwargs: Mapping[str, Any]) -> dict[str, list[str]]:
        """Return the submodule whose output is the temperature."""
        return {"temperature": [""]}

    def __init__(
        self,
        student_model: nn.Module,
        device: torch.device | None = None,
        device_ids: list[int] | None = None,
        distributed: bool = False,
        *,
        level: str = "global",
        num_classes: int | None = None,
        hidden: int = 128,
        initial: float = 1.0,
        low: float = 1.0,
        spread: float = 20.0,
        lambda_max: float = 0.0,
        lambda_min: float = -1.0,
        loops: float = 10,
    ) -> None:
        super().__init__(student_model)
        check_choice("level", level, LEVELS)
        self.level = level
        shared: dict[str, float] = {
            "initial": initial, "low": low, "spread": spread, "lambda_max": lambda_max, "lambda_min": lambda_min,
            "loops": loops,
        }  # fmt: skip
        if level == "global":
            self.temperature: nn.Module = GlobalTemperature(**shared)
        elif num_classes is None:
            raise ValueError("CTKDStudent with level='instance' needs num_classes, the number of logits")
        else:
            self.temperature = InstanceTemperature(num_classes=num_classes, hidden=hidden, **shared)
        self.channel = TeacherChannel()

    def listen_to(self, teacher: nn.Module) -> None:
        """Capture the logits of ``teacher`` if they are needed."""
        if self.level == "instance":
            self.channel.connect(teacher)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the student's output; in training, also compute the temperature."""
        output = self.student_model(*args, **kwargs)
        if not self.training:
            return output
        if not isinstance(output, Tensor):
            raise ValueError(f"CTKDStudent needs a student that returns logits (B, C), found {type(output).__name__}")
        logits = () if self.level == "global" else (output, self._teacher_logits())
        return keep_in_graph(output, self.temperature(*logits))

    def _teacher_logits(self) -> Tensor:
        logits = self.channel.take()
        if logits is None:
            raise ValueError(
                "CTKDStudent with level='instance' has no logits of the teacher: set pre_epoch_process: kd_pre_epoch "
                "under train, which connects the two"
            )
        if not isinstance(logits, Tensor):
            raise ValueError(f"CTKDStudent needs a teacher that returns logits (B, C), found {type(logits).__name__}")
        return logits
