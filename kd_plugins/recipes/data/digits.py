"""The demo's data and schedules: a ViT trained on many digits teaches a small CNN that is trained on few."""

from __future__ import annotations

from ...pairs.marks import Raw
from ..schedules import Schedule
from .data_text import compose_lines, normalize_lines, split_lines, step_lines
from .datasets import DIGITS_STATS, Source, Step

TEACHER, STUDENT = "vit", "resnet8"
# With all training images the CNN is as good as the ViT; with few it can gain from a teacher.
IMAGES, VALIDATED_FROM, STUDENT_IMAGES = 1437, 1200, 200
TEACHER_EPOCHS, STUDENT_EPOCHS = 30, 40
TEACHERS = {"vit": (TEACHER_EPOCHS, 0.001), "mixer": (20, 0.001), "resnet20": (6, 0.002)}
"""Name -> epochs and learning rate. The demo uses the first, methods with several teachers use all."""


def file_name(model: str) -> str:
    """Return the name of a model's config."""
    return f"cifar_{model}" if model.startswith("resnet") else model


def teacher_checkpoint(model: str) -> str:
    """Return the path of a trained teacher's weights."""
    return f"runs/{file_name(model)}/seed0/best.pt"


TEACHER_CHECKPOINT = teacher_checkpoint(TEACHER)


def digits_schedule(model: str, *, batch: int | None = None) -> Schedule:
    """Return the schedule of a teacher or a student."""
    own, lr, size = (*TEACHERS[model], 64) if model in TEACHERS else (STUDENT_EPOCHS, 0.002, 32)
    size = batch or size
    steps = -(-_images(model) // size)
    return Schedule(
        "", own, size, {"key": "AdamW", "weight_decay": 0.05}, lr, "one_cycle", {"steps_per_epoch": steps},
        workers=0, log_freq=10,
    )  # fmt: skip


def digits_lines(model: str) -> list[str]:
    """Return the lines of ``datasets`` for the training of a teacher or a student."""
    crop: list[Step] = [("RandomCrop", {"size": 32, "padding": 2, "padding_mode": "edge"})]
    train = [*step_lines(crop if model in TEACHERS else (), 0), *normalize_lines(DIGITS_STATS)]
    plain = split_lines(
        "val", "digits", digits_between(VALIDATED_FROM, IMAGES), compose_lines(["*to_tensor", "*normalize"])
    )
    return [
        "datasets:",
        *split_lines("train", "digits", digits_between(0, _images(model)), compose_lines(train)),
        "  # The last training images choose best.pt, so that the test images choose nothing.",
        *(line.replace("transform: ", "transform: &plain ") for line in plain),
        "  &test digits/test: !import_call",
        "    key: kd_plugins.data.Digits",
        "    init: {kwargs: {train: False, transform: *plain}}",
    ]


def digits_between(start: int, stop: int) -> Source:
    """Return the training images from one number to another."""
    indices = Raw(f"!import_call {{key: builtins.range, init: {{args: [{start}, {stop}]}}}}")
    return "torch.utils.data.Subset", {"dataset": ("kd_plugins.data.Digits", {"train": True}), "indices": indices}


def _images(model: str) -> int:
    return VALIDATED_FROM if model in TEACHERS else STUDENT_IMAGES
