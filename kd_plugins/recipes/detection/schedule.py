"""Training schedules of detectors, in steps."""

from __future__ import annotations

import dataclasses

from ..._names import unknown_name
from ..request import Request
from ..schedules import IMAGENET_SGD, Schedule, check_numbers

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


DIGITS = Schedule("", 12, 8, {"key": "AdamW"}, 0.002, "one_cycle", workers=0)


def schedule_of(request: Request, student: str, *, digits: bool) -> Schedule:
    """Return the schedule of a request.

    Raises:
        ValueError: for an unknown schedule, or a number out of range.
    """
    check_numbers(request)
    known = DIGITS if digits else _on_coco(request.schedule or STEPS_180K, student)
    if digits and request.schedule is not None:
        raise ValueError(f"--schedule {request.schedule}: canvas-digits has one schedule; leave the option out")
    images = (request.train_images or 400) if digits else COCO_IMAGES
    batch = request.batch or known.batch
    return dataclasses.replace(
        known, epochs=request.epochs or known.epochs, batch=batch, lr=request.lr or known.lr,
        decay_kwargs={"steps_per_epoch": -(-images // batch)},
    )  # fmt: skip


def _on_coco(name: str, student: str) -> Schedule:
    if name not in (STEPS_180K, AUTHORS):
        raise unknown_name("schedule", name, (STEPS_180K, AUTHORS))
    if name == STEPS_180K:
        return Schedule(SAME, 12, 8, IMAGENET_SGD, 0.01, "warmup_steps")
    batch = 4 if student == "resnet18" else 8
    epochs = round(360_000 * batch / COCO_IMAGES)
    return Schedule(LONGER.format(batch=batch), epochs, batch, IMAGENET_SGD, 0.01, "warmup_steps")
