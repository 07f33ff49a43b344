"""The most memory that a training step takes at one time.

What counts is tensors: parameters and buffers of both models, gradients, the optimizer's state, the batch, activations
of the student and of the teacher's forward, whatever autograd saves and whatever is kept of the teacher. On the CPU
they are counted by their storages, from birth to end; what an operation uses inside itself is not seen. On CUDA it is
the allocator's ``max_memory_allocated``, which sees that too. A step is measured after another one, which has made the
optimizer's state.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torchdistill.optim.registry import get_optimizer

from ..engine.build import build_model
from ..engine.config import Config
from .memory import LiveBytes, SavedBytes, bytes_of
from .training_step import Batch, TrainingStep

SCRATCH = "student from scratch, one backward"


@dataclass(frozen=True)
class MemoryRow:
    """Memory of one step.

    Attributes:
        name: config, or what else was measured.
        peak: bytes, the most at one time.
        ratio: to the student's training from scratch.
        saved: the most of it that autograd saved for a backward pass at one time, in bytes, without parameters and
            batch; None for a floor, which is computed.
    """

    name: str
    peak: int
    ratio: float
    saved: int | None


def measure_memory(
    configs: Sequence[Config], *, device: torch.device, amp: str = "no"
) -> tuple[list[MemoryRow], list[int]]:
    """Measure a step of each config, one after the other, and of the first one's student alone.

    The reference is the student without its wrapper, trained by cross-entropy with the config's optimizer on the same
    batch. Where a part of the student has a method ``memory_floor``, which returns bytes after a step, a row shows
    it.

    Args:
        configs: the configs.
        device: where to train.
        amp: ``"no"``, ``"bf16"`` or ``"fp16"``.

    Returns:
        A row for each config, followed by its floor if it has one, and a row for the reference; and the number of
        images in a batch of each config.
    """
    if device.type == "cuda":
        torch.ones(8, 8, device=device).mm(torch.ones(8, 8, device=device))  # makes the workspace that stays
    found: list[tuple[str, Peak]] = []
    images: list[int] = []
    reference: Peak | None = None
    for config in configs:
        before = _allocated(device)
        with TrainingStep(config, device, amp) as step:
            batch = step.next_batch()
            images.append(len(batch[0]))
            found.append((str(config.path), _peak_of_step(step, batch, before)))
            floor = _floor(step.student)
            if floor is not None:
                found.append((f"floor of {config.path}", Peak(floor, None)))
            reference = reference or _peak_of_student(step, batch)
        del step, batch
        gc.collect()
    if reference is None:
        raise ValueError("measure_memory needs at least one config")
    found.append((SCRATCH, reference))
    return [MemoryRow(name, peak.all, peak.all / reference.all, peak.saved) for name, peak in found], images


def format_memory(rows: Sequence[MemoryRow]) -> str:
    """Return the measurements as a table.

    Example:
        >>> print(format_memory([MemoryRow("kd.yaml", 3 * 2**20, 1.5, 2**20), MemoryRow(SCRATCH, 2**21, 1.0, 2**20)]))
        step                               peak MiB  x scratch  saved for backward MiB
        kd.yaml                                3.00      1.500                    1.00
        student from scratch, one backward     2.00      1.000                    1.00
    """
    width = max(len(row.name) for row in rows)
    lines = [f"{'step':<{width}}  {'peak MiB':>9}  x scratch  saved for backward MiB"]
    for row in rows:
        saved = "-" if row.saved is None else f"{row.saved / 2**20:.2f}"
        lines.append(f"{row.name:<{width}}  {row.peak / 2**20:>9.2f}  {row.ratio:>9.3f}  {saved:>22}")
    return "\n".join(lines)


@dataclass(frozen=True)
class Peak:
    """The most bytes at one time: of all, and of what autograd saves."""

    all: int
    saved: int | None


def _peak_of_step(step: TrainingStep, batch: Batch, before: int) -> Peak:
    box = step.box
    models = [getattr(box, name, None) for name in ("teacher_model", "org_teacher_model", "org_student_model")]
    modules = [m for m in (step.student, box.criterion, *step.terms.values(), *models) if m is not None]
    given = [*_state(modules), *_tensors(batch)]

    def run() -> None:
        for _ in range(step.batches_a_step):
            step.train_on(batch)

    return _peak(run, given, step.procs.device, before)


def _peak_of_student(step: TrainingStep, batch: Batch) -> Peak:
    images, targets, _ = batch
    # What the step's models take is there before and is not counted; the batch is.
    before = _allocated(step.procs.device) - bytes_of(_tensors(batch))
    name = "student_model" if "student_model" in step.built["models"] else "model"
    model = build_model(step.config, name, {**step.student_section, "src_ckpt": None}, step.procs).train()
    section = step.stage.get("optimizer") or {"key": "SGD", "kwargs": {"lr": 0.01}}
    optimizer = get_optimizer(model, section["key"], **(section.get("kwargs") or {}))

    def run() -> None:
        with step.precision.autocast():
            # No name for the logits: they would outlive the forward, as they do not in the trainer.
            loss = F.cross_entropy(_tensors(model(images))[0], targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return _peak(run, [*_state([model]), *_tensors(batch)], step.procs.device, before)


def _peak(run: Callable[[], object], given: Sequence[Tensor], device: torch.device, before: int) -> Peak:
    """Return what the second of two runs takes, with what was given to it."""
    saved = SavedBytes(given)
    if device.type == "cuda":
        run()
        gc.collect()
        torch.cuda.reset_peak_memory_stats(device)
        with saved:
            run()
        return Peak(torch.cuda.max_memory_allocated(device) - before, saved.peak)
    with LiveBytes(given) as counted:
        run()
        gc.collect()
        counted.peak = counted.live
        with saved:
            run()
    return Peak(counted.peak + bytes_of(given), saved.peak)


def _allocated(device: torch.device) -> int:
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else 0


def _state(modules: Iterable[nn.Module]) -> list[Tensor]:
    return [x for module in modules for x in (*module.parameters(), *module.buffers())]


def _tensors(tree: Any) -> list[Tensor]:
    return [x for x in tree_leaves(tree) if isinstance(x, Tensor)]


def _floor(student: nn.Module) -> int | None:
    for module in student.modules():
        floor = getattr(module, "memory_floor", None)
        if callable(floor):
            return int(floor())
    return None
