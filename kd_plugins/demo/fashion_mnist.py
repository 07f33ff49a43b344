"""The configs of the comparison on Fashion-MNIST: two teachers, one student, one schedule for all methods."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .._checks import check_at_least
from ..methods import BASELINE
from ..recipes import Request, recipe

STUDENT = "resnet8"
TEACHERS = {"resnet20": "ResNet-20", "vit": "ViT"}
"""Name of a recipe -> its name in a table."""
METHODS = ("kd", "lskd", "sfkd", "ckd", "lakd", "letkd1", "letkd2", "lskd+sfkd", "kd+letkd2")
SIZE, IMAGES, TEACHER_IMAGES, VAL_SHARE = 32, 5000, 20_000, 0.02
SCHEDULE = "cifar_cosine_ckd"
"""One for all methods, as the papers' own differ and a table over several schedules would compare these."""
BATCH = 32
"""Of the student. With 64 and augmented images, 3 epochs leave it far from trained."""
LETKD = {"num_centres": "256", "score_scale": "auto"}
"""A step with the paper's 4096 centres is slow on a CPU."""


on_fashion_mnist = partial(Request, dataset="fashion-mnist", size=SIZE, val_share=VAL_SHARE)


@dataclass(frozen=True)
class Lengths:
    """Numbers of epochs of the student and of the teachers."""

    student: int = 3
    resnet20: int = 5
    vit: int = 16

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            check_at_least(f"epochs of {field.name}", getattr(self, field.name), 1)


DEFAULT = Lengths()


def teacher_config(teacher: str, lengths: Lengths = DEFAULT) -> str:
    """Return the config of a teacher, which learns from more images than the student."""
    request = on_fashion_mnist(BASELINE, None, teacher, train_images=TEACHER_IMAGES, epochs=getattr(lengths, teacher))
    if teacher != "vit":
        return recipe(dataclasses.replace(request, schedule=SCHEDULE))
    text = recipe(dataclasses.replace(request, schedule="heterogeneous_vit", batch=64, lr=0.001))
    # A teacher that was trained on smoothed labels tells less about the other classes.
    return text.replace("{label_smoothing: 0.1}", "{}")


def student_config(
    method: str, teacher: str, *, checkpoint: str | Path, statistics: str | Path, lengths: Lengths = DEFAULT
) -> str:
    """Return the config of a student by a method of ``kd-plugins recipe``.

    ``teacher`` is a name of ``TEACHERS``; ``ce`` does not use it. All seeds share the file of letKD's ``statistics``.

    Example:
        >>> text = student_config("letkd1", "vit", checkpoint="vit.pt", statistics="vit.safetensors")
        >>> "num_centres: 256" in text, "statistics: 'vit.safetensors'" in text
        (True, True)
    """
    request = on_fashion_mnist(
        method, teacher, STUDENT, train_images=IMAGES, augment="none", batch=BATCH, schedule=SCHEDULE,
        epochs=lengths.student, checkpoint=str(checkpoint), options=_options(method),
    )  # fmt: skip
    if method == BASELINE:
        return recipe(dataclasses.replace(request, teacher=None, checkpoint=None))
    return recipe(request).replace("statistics: auto", f"statistics: '{statistics}'")


def _options(method: str) -> tuple[str, ...]:
    """Return the options of the letKD part of a method; in a sum they carry its name."""
    parts = method.split("+")
    named = [(f"{part}." if len(parts) > 1 else "", key, value) for part in parts if part.startswith("letkd")
             for key, value in LETKD.items()]  # fmt: skip
    return tuple(f"{part}{key}={value}" for part, key, value in named)
