"""Estimate time and memory of a training from a few steps on a small batch."""

from __future__ import annotations

from dataclasses import dataclass

from torch.utils.data import DataLoader

from ...bench.memory import LiveBytes, bytes_of, tensors_in
from ...bench.steps.training_step import LOADER, TOTAL, TrainingStep
from ...data.loading import batches

STEPS, SLOW = 3, 0.5
"""Number of steps, of which the fastest counts; a single step if it takes more than SLOW seconds."""


@dataclass(frozen=True)
class Estimate:
    """Cost of an epoch and a step, measured on ``images`` images and scaled to the config's ``batch``."""

    device: str
    images: int
    batch: int
    epoch_seconds: float  # without validation and without waiting for the loader
    loader_seconds: float  # to load the images of an epoch in one process
    peak: int | None  # bytes of tensors in a step; None on CUDA

    def text(self) -> str:
        """Return the estimate as a sentence.

        Example:
            >>> print(Estimate("cpu", 32, 64, 90.0, 10.0, 2**30).text())
            about 1.5 min an epoch here (cpu), 10 s to load its images in one process; 1.0 GiB at batch size 64
        """
        memory = "" if self.peak is None else f"; {_size(self.peak)} at batch size {self.batch}"
        return (
            f"about {_duration(self.epoch_seconds)} an epoch here ({self.device}), "
            f"{_duration(self.loader_seconds)} to load its images in one process{memory}"
        )


def small_loader(step: TrainingStep, images: int) -> int:
    """Limit the batch size of a step to ``images``, loaded in this process; return the config's batch size.

    A loader with its own batch sampler keeps its batches.
    """
    loader = step.box.train_data_loader
    wanted = loader.batch_size
    if wanted is None:
        return len(next(batches(loader))[0])
    kwargs = {"drop_last": loader.drop_last, "collate_fn": loader.collate_fn, "sampler": loader.sampler}
    step.box.train_data_loader = DataLoader(loader.dataset, batch_size=min(wanted, images), **kwargs)
    return wanted


def estimate(step: TrainingStep, batch: int, epoch_images: int, *, moves: bool) -> Estimate:
    """Take a few steps with a small loader and scale them to the config's batch and epoch.

    The steps change the weights only if ``moves``: on noise or small batches, weights may diverge where training would
    not.
    """
    laps: list[dict[str, float]] = []
    while len(laps) < STEPS and not (laps and laps[0][TOTAL] > SLOW):
        for group in step.box.optimizer.param_groups if not moves else ():
            group["lr"] = 0.0
        step.run()
        laps.append(step.clock.laps[-1])
    given = step.next_batch()
    images = len(given[0])
    loader = min(lap[LOADER] for lap in laps) / (images * step.batches_a_step)
    training = min(lap[TOTAL] - lap[LOADER] for lap in laps) / (images * step.batches_a_step)
    peak = None
    if step.procs.device.type == "cpu":
        state = [*step.student.parameters(), *step.student.buffers()]
        teacher = getattr(step.box, "teacher_model", None)
        if teacher is not None:
            state += [*teacher.parameters(), *teacher.buffers()]
        state += tensors_in(list(step.box.optimizer.state.values()))
        beside = tensors_in(given[:2])
        with LiveBytes([*state, *beside]) as counted:
            step.train_on(given)
        gradients = bytes_of([p for p in step.student.parameters() if p.requires_grad])
        for_images = max(counted.peak - gradients, 0) + bytes_of(beside)
        peak = bytes_of(state) + gradients + round(for_images * batch / images)
    return Estimate(str(step.procs.device), images, batch, training * epoch_images, loader * epoch_images, peak)


def _duration(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 1 else f"{seconds:.2f} s"


def _size(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"
