"""Training schedules of detectors, in steps."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..._names import unknown_name
from ..request import Request

COCO_IMAGES = 117_266
"""COCO's training images with a box."""

STEPS_180K, AUTHORS = "steps_180k", "authors"
SAME = (
    "The public code trains CKD + ReviewKD for 360,000 steps, ReviewKD and DKD for 180,000 of the same batch: some "
    "rows of the table saw twice the images of others. Here every method has 180,000 steps of 8 images (12 epochs); "
    "--schedule authors is the longer one. Compare no runs of different schedules."
)
LONGER = (
    "Schedule of the public code for CKD + ReviewKD: 360,000 steps of {batch} images. Its ReviewKD and DKD have "
    "180,000 of 8: compare no runs of different schedules."
)


@dataclass(frozen=True)
class Steps:
    """A schedule: epochs, images of a step, learning rate, and a sentence about it."""

    epochs: int
    batch: int
    lr: float
    images: int
    about: str
    digits: bool = False

    @property
    def steps_per_epoch(self) -> int:
        """Number of steps of an epoch."""
        return math.ceil(self.images / self.batch)

    @property
    def optimizer(self) -> dict[str, Any]:
        """The ``optimizer`` of a config."""
        if self.digits:
            return {"key": "AdamW", "kwargs": {"lr": self.lr}}
        return {"key": "SGD", "kwargs": {"lr": self.lr, "momentum": 0.9, "weight_decay": 0.0001}}

    def scheduler(self) -> Sequence[str]:
        """Return the lines of the ``scheduler`` of a config; it steps after every batch."""
        if self.digits:
            return [
                "  scheduler:",
                "    key: OneCycleLR",
                f"    kwargs: {{max_lr: {self.lr}, epochs: {self.epochs}, steps_per_epoch: {self.steps_per_epoch}}}",
                "    scheduling_step: 1 # after every batch",
            ]
        whole = self.epochs * self.steps_per_epoch
        return [
            "  scheduler: # in steps: warm-up, then a tenth at 2/3 and at 8/9",
            "    key: LambdaLR",
            "    kwargs:",
            "      lr_lambda: !import_call",
            "        key: kd_plugins.schedules.WarmupSteps",
            f"        init: {{kwargs: {{milestones: [{whole * 2 // 3}, {whole * 8 // 9}], warmup: "
            f"{min(1000, whole // 10)}, warmup_factor: 0.001}}}}",
            "    scheduling_step: 1 # after every batch",
        ]


def schedule_of(request: Request, student: str, *, digits: bool) -> Steps:
    """Return the schedule of a request.

    Raises:
        ValueError: for an unknown schedule, or a number out of range.
    """
    for flag, value in (("--epochs", request.epochs), ("--batch", request.batch)):
        if value is not None and value < 1:
            raise ValueError(f"{flag} must be a whole number of at least 1, found {value}")
    if request.lr is not None and not 0 < request.lr < math.inf:
        raise ValueError(f"--lr must be a number above 0, found {request.lr:g}")
    known = _known(request, student, digits=digits)
    return dataclasses.replace(
        known,
        epochs=known.epochs if request.epochs is None else request.epochs,
        batch=known.batch if request.batch is None else request.batch,
        lr=known.lr if request.lr is None else request.lr,
    )


def _known(request: Request, student: str, *, digits: bool) -> Steps:
    if digits:
        if request.schedule is not None:
            raise ValueError(f"--schedule {request.schedule}: canvas-digits has one schedule; leave the option out")
        return Steps(12, 8, 0.002, request.train_images or 400, "", digits=True)
    name = request.schedule or STEPS_180K
    if name not in (STEPS_180K, AUTHORS):
        raise unknown_name("schedule", name, (STEPS_180K, AUTHORS))
    if name == STEPS_180K:
        return Steps(12, 8, 0.01, COCO_IMAGES, SAME)
    batch = 4 if student == "resnet18" else 8
    return Steps(round(360_000 * batch / COCO_IMAGES), batch, 0.01, COCO_IMAGES, LONGER.format(batch=batch))
