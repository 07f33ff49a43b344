"""The demo's data and schedules: a ViT trained on many digits teaches a small CNN that is trained on few."""

from __future__ import annotations

from ..schedules import Schedule
from .datasets import DIGITS_STATS

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
    mean, std = (list(values) for values in DIGITS_STATS)
    crop = [
        "- !import_call",
        "  key: torchvision.transforms.RandomCrop",
        "  init: {kwargs: {size: 32, padding: 2, padding_mode: edge}}",
    ]
    train = [
        "transform: !import_call",
        "  key: torchvision.transforms.Compose",
        "  init:",
        "    args:",
        "      -",
        *(f"        {line}" for line in (crop if model in TEACHERS else ())),
        "        - &to_tensor !import_call {key: torchvision.transforms.ToTensor, init: {}}",
        "        - &normalize !import_call",
        "          key: torchvision.transforms.Normalize",
        f"          init: {{kwargs: {{mean: {mean}, std: {std}}}}}",
    ]
    plain = [
        "transform: &plain !import_call",
        "  key: torchvision.transforms.Compose",
        "  init: {args: [[*to_tensor, *normalize]]}",
    ]
    return [
        "datasets:",
        *_subset("train", train, 0, _images(model)),
        "  # The last training images choose best.pt, so that the test images choose nothing.",
        *_subset("val", plain, VALIDATED_FROM, IMAGES),
        "  &test digits/test: !import_call",
        "    key: kd_plugins.data.Digits",
        "    init: {kwargs: {train: False, transform: *plain}}",
    ]


def _subset(name: str, transform: list[str], start: int, stop: int) -> list[str]:
    return [
        f"  &{name} digits/{name}: !import_call",
        "    key: torch.utils.data.Subset",
        "    init:",
        "      kwargs:",
        "        dataset: !import_call",
        "          key: kd_plugins.data.Digits",
        "          init:",
        "            kwargs:",
        "              train: True",
        *(f"              {line}" for line in transform),
        f"        indices: !import_call {{key: builtins.range, init: {{args: [{start}, {stop}]}}}}",
    ]


def _images(model: str) -> int:
    return VALIDATED_FROM if model in TEACHERS else STUDENT_IMAGES
