"""Batch size and loader processes for images outside the papers' tables."""

from __future__ import annotations

import dataclasses

from ..schedules import Schedule

BATCHES, LEAST_BATCH = 8, 8
"""An epoch has at least BATCHES batches, unless these would be smaller than LEAST_BATCH."""
WORKERS_FROM, WORKERS_FROM_SMALL = 1000, 10_000
"""With fewer images, starting loader processes every epoch takes longer than reading the images.

The second number is for small images that are held in memory.
"""


def for_images(schedule: Schedule, name: str, images: int, *, fixed_batch: bool, in_memory: bool = False) -> Schedule:
    """Return a schedule with batch size and workers for a number of training images, and sentences about them.

    ``fixed_batch`` keeps the batch size. ``in_memory`` says that the data set holds small images in memory.

    Example:
        >>> from kd_plugins.recipes.schedules import SCHEDULES
        >>> made = for_images(SCHEDULES["heterogeneous_cnn"], "heterogeneous_cnn", 200, fixed_batch=False)
        >>> made.batch, made.workers
        (16, 0)
    """
    batch = schedule.batch if fixed_batch else fitting_batch(schedule.batch, images)
    workers_from = WORKERS_FROM_SMALL if in_memory else WORKERS_FROM
    workers = schedule.workers if images >= workers_from else 0
    source = f"Schedule: {name}, {schedule.epochs} epochs; nothing of it was tuned on these images."
    if batch != schedule.batch:
        source += (
            f" batch_size is {batch}, not {schedule.batch}: it is halved, down to {LEAST_BATCH}, until an epoch of the "
            f"{images} images has {BATCHES} batches; the learning rate is as it was."
        )
    if workers != schedule.workers:
        source += (
            f" num_workers is 0, as below {workers_from:,} images starting processes every epoch takes longer than "
            "reading."
        )
    return dataclasses.replace(schedule, source=source, batch=batch, workers=workers)


def fitting_batch(batch: int, images: int) -> int:
    """Halve a batch size until an epoch has several batches.

    Example:
        >>> fitting_batch(128, 50000), fitting_batch(128, 300), fitting_batch(128, 20), fitting_batch(64, 4)
        (128, 32, 8, 4)
    """
    while batch > LEAST_BATCH and images // batch < BATCHES:
        batch = max(LEAST_BATCH, batch // 2)
    return min(batch, images)
