"""What exists beside the student while it is trained, and is not part of its checkpoint.

The optimizer trains it, and this package's trainer keeps it for an exact resume.
"""

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

    In training, every forward pass also runs the submodule ``temperature``, whose output the config hooks for the
    loss. The student's own output, its module paths and its state dict are untouched, and outside of training the
    temperature rests.

    Args:
        student_model: the student, given by torchdistill.
        device: given by torchdistill; unused, as the box moves the wrapper.
        device_ids: given by torchdistill; unused.
        distributed: given by torchdistill; unused, as the trainer wraps the whole.
        level: ``"global"``, one temperature for all samples, or ``"instance"``, one a sample, from the logits of
            both models; the latter needs ``pre_epoch_process: kd_pre_epoch``.
        num_classes: number of logits; ``level="instance"`` alone needs it.
        hidden: width of the network behind a temperature a sample.
        initial: what the sigmoid sees at first.
        low: lowest temperature.
        spread: difference of the highest and the lowest temperature.
        lambda_max: factor on the temperature's gradient before the first epoch.
        lambda_min: factor from epoch ``loops`` on; a negative one makes distillation harder.
        loops: number of epochs between the two, along a cosine.

    Raises:
        ValueError: on another level, or a value out of range.

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
        """Return the name of the module that shows the temperature."""
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
        """Hear the logits of ``teacher`` before every forward pass, where they are needed."""
        if self.level == "instance":
            self.channel.connect(teacher)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the student returns, and run the temperature in training."""
        output = self.student_model(*args, **kwargs)
        if not self.training:
            return output
        if not isinstance(output, Tensor):
            raise ValueError(f"CTKDStudent needs a student that returns logits (B, C), found {type(output).__name__}")
        logits = () if self.level == "global" else (output, self._teacher_logits())
        temperature = self.temperature(*logits)
        return keep_in_graph(output, temperature)

    def _teacher_logits(self) -> Tensor:
        logits = self.channel.take()
        if logits is None:
            raise ValueError(
                "CTKDStudent with level='instance' has not heard the teacher: set pre_epoch_process: kd_pre_epoch "
                "under train, which connects it"
            )
        if not isinstance(logits, Tensor):
            raise ValueError(f"CTKDStudent needs a teacher that returns logits (B, C), found {type(logits).__name__}")
        return logits
