"""The demo's data and schedules: a ViT that learned from many digits teaches a small CNN that has few."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..schedules import Schedule
from .datasets import DIGITS_STATS

TEACHER, STUDENT = "vit", "resnet8"
# With all training images the CNN is as good as the ViT by itself; few leave it something to learn from a teacher.
IMAGES, VALIDATED_FROM, STUDENT_IMAGES = 1437, 1200, 200
TEACHER_EPOCHS, STUDENT_EPOCHS = 30, 40
TEACHERS = {"vit": (TEACHER_EPOCHS, 0.001), "mixer": (20, 0.001), "resnet20": (6, 0.002)}
"""Name -> epochs and learning rate; the first is the demo's, all are those of methods with several teachers."""


def file_name(model: str) -> str:
    """Return the name of a model's config: the demo's networks are called by their registered names."""
    return f"cifar_{model}" if model.startswith("resnet") else model


def teacher_checkpoint(model: str) -> str:
    """Return where the training of a teacher leaves its weights."""
    return f"runs/{file_name(model)}/seed0/best.pt"


TEACHER_CHECKPOINT = teacher_checkpoint(TEACHER)


@dataclass(frozen=True)
class DigitsSchedule(Schedule):
    """A schedule that ends with its training, on the first images of the training set.

    Attributes:
        images: how many.
        crop: whether they are shifted at random.
    """

    images: int = STUDENT_IMAGES
    crop: bool = False

    def scheduler_yaml(self) -> list[str]:
        """Return the lines of one cycle."""
        steps = -(-self.images // self.batch)
        return [
            "  scheduler:",
            "    key: OneCycleLR",
            f"    kwargs: {{max_lr: {self.lr}, epochs: {self.epochs}, steps_per_epoch: {steps}}}",
            "    scheduling_step: 1 # after every batch",
        ]


def digits_schedule(model: str, *, epochs: int | None = None) -> DigitsSchedule:
    """Return how a teacher, or a student, is trained."""
    adamw: Mapping[str, Any] = {"key": "AdamW", "weight_decay": 0.05}
    if model in TEACHERS:
        own, lr = TEACHERS[model]
        return DigitsSchedule(
            "", epochs or own, 64, adamw, lr, "", workers=0, log_freq=10, images=VALIDATED_FROM, crop=True
        )
    return DigitsSchedule("", epochs or STUDENT_EPOCHS, 32, adamw, 0.002, "", workers=0, log_freq=10)


_CROP = [
    "                      - !import_call",
    "                        key: torchvision.transforms.RandomCrop",
    "                        init: {kwargs: {size: 32, padding: 2, padding_mode: edge}}",
]


def digits_lines(schedule: Schedule) -> list[str]:
    """Return the lines of ``datasets``."""
    if not isinstance(schedule, DigitsSchedule):
        raise TypeError(f"digits are trained on by a DigitsSchedule, found {schedule!r}")
    mean, std = (list(values) for values in DIGITS_STATS)
    return f"""\
datasets:
  &train digits/train: !import_call
    key: torch.utils.data.Subset
    init:
      kwargs:
        dataset: !import_call
          key: kd_plugins.data.Digits
          init:
            kwargs:
              train: True
              transform: !import_call
                key: torchvision.transforms.Compose
                init:
                  args:
                    -
CROP
                      - &to_tensor !import_call {{key: torchvision.transforms.ToTensor, init: {{}}}}
                      - &normalize !import_call
                        key: torchvision.transforms.Normalize
                        init: {{kwargs: {{mean: {mean}, std: {std}}}}}
        indices: !import_call {{key: builtins.range, init: {{args: [0, {schedule.images}]}}}}
  # The last training images choose best.pt, so that the test images choose nothing.
  &val digits/val: !import_call
    key: torch.utils.data.Subset
    init:
      kwargs:
        dataset: !import_call
          key: kd_plugins.data.Digits
          init:
            kwargs:
              train: True
              transform: &plain !import_call
                key: torchvision.transforms.Compose
                init: {{args: [[*to_tensor, *normalize]]}}
        indices: !import_call {{key: builtins.range, init: {{args: [{VALIDATED_FROM}, {IMAGES}]}}}}
  &test digits/test: !import_call
    key: kd_plugins.data.Digits
    init: {{kwargs: {{train: False, transform: *plain}}}}""".replace(
        "CROP\n", "\n".join([*_CROP, ""]) if schedule.crop else ""
    ).splitlines()
