"""The most memory that a training step takes at one time.

What counts is tensors: parameters and buffers of both models, gradients, the optimizer's state, the batch, activations
of the student and of the teacher's forward, whatever autograd saves and whatever is kept of the teacher. On the CPU
they are counted by their storages, from birth to end; what an operation uses inside itself is not seen. On CUDA it is
the allocator's ``max_memory_allocated``, which sees that too. A step is measured after another one, which has made the
optimizer's state.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torchdistill.optim.registry import get_optimizer

from ...config.build import build_model
from ...config.config import Config
from ..memory import LiveBytes, SavedBytes, bytes_of
from .clock import Clock
from .training_step import Batch, TrainingStep

BETWEEN = "between the parts"
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
        parts: the most at one time during each part of the step, in bytes, what was there before included; empty for
            what is no config.
    """

    name: str
    peak: int
    ratio: float
    saved: int | None
    parts: dict[str, int] = field(default_factory=dict)


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
        A row for each config, with the parts of its step, followed by its floor if it has one, and a row for the
        reference; and the number of images in a batch of each config.
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
    return [MemoryRow(name, peak.all, peak.all / reference.all, peak.saved, peak.parts) for name, peak in found], images


def format_memory(rows: Sequence[MemoryRow]) -> str:
    """Return the measurements as a table.

    Example:
        >>> print(format_memory([MemoryRow("kd.yaml", 3 * 2**20, 1.5, 2**20), MemoryRow(SCRATCH, 2**21, 1.0, 2**20)]))
        step                               peak MiB  x scratch  saved for backward MiB
        kd.yaml                                3.00      1.500                    1.00
        student from scratch, one backward     2.00      1.000                    1.00
    """
    width = max(len(name) for row in rows for name in (row.name, *(f"  {part}" for part in row.parts)))
    lines = [f"{'step':<{width}}  {'peak MiB':>9}  x scratch  saved for backward MiB"]
    for row in rows:
        saved = "-" if row.saved is None else f"{row.saved / 2**20:.2f}"
        lines.append(f"{row.name:<{width}}  {row.peak / 2**20:>9.2f}  {row.ratio:>9.3f}  {saved:>22}")
        # The parts of a step, under its name.
        lines += [f"  {name:<{width - 2}}  {peak / 2**20:>9.2f}" for name, peak in row.parts.items()]
    return "\n".join(lines)


@dataclass(frozen=True)
class Peak:
    """The most bytes at one time: of all, of what autograd saves, and during each part of a step."""

    all: int
    saved: int | None
    parts: dict[str, int] = field(default_factory=dict)


def _peak_of_step(step: TrainingStep, batch: Batch, before: int) -> Peak:
    box = step.box
    models = [getattr(box, name, None) for name in ("teacher_model", "org_teacher_model", "org_student_model")]
    modules = [m for m in (step.student, box.criterion, *step.terms.values(), *models) if m is not None]
    given = [*_state(modules), *_tensors(batch)]

    def run() -> None:
        for _ in range(step.batches_a_step):
            step.train_on(batch)

    return _peak(run, given, step.procs.device, before, step.clock)


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


def _peak(
    run: Callable[[], object], given: Sequence[Tensor], device: torch.device, before: int, clock: Clock | None = None
) -> Peak:
    """Return what the second of two runs takes, with what was given to it, and in each section of the clock."""
    saved, beside = SavedBytes(given), bytes_of(given)
    if device.type == "cuda":
        run()
        gc.collect()
        torch.cuda.reset_peak_memory_stats(device)

        def cuda_peak() -> int:
            found = torch.cuda.max_memory_allocated(device) - before
            torch.cuda.reset_peak_memory_stats(device)
            return found

        with saved, _sections(clock, cuda_peak) as parts:
            run()
        return Peak(max([*parts.values(), cuda_peak()]), saved.peak, _without_rest(parts))
    with LiveBytes(given) as counted:
        run()
        gc.collect()
        counted.peak = counted.live

        def live_peak() -> int:
            found, counted.peak = counted.peak + beside, counted.live
            return found

        with saved, _sections(clock, live_peak) as parts:
            run()
        return Peak(max([*parts.values(), live_peak()]), saved.peak, _without_rest(parts))


@contextmanager
def _sections(clock: Clock | None, take_peak: Callable[[], int]) -> Iterator[dict[str, int]]:
    """Collect what ``take_peak`` returns, the most since its last call, for every section of a clock and the rest."""
    parts: dict[str, int] = {}

    def note(name: str) -> None:
        parts[name] = max(parts.get(name, 0), take_peak())

    if clock is None:
        yield parts
        return
    begin, end = clock.begin, clock.end

    def noted_begin(name: str) -> None:
        note(BETWEEN)
        begin(name)

    def noted_end(name: str) -> None:
        end(name)
        note(name)

    clock.begin, clock.end = noted_begin, noted_end  # type: ignore[method-assign]
    try:
        yield parts
    finally:
        del clock.begin, clock.end


def _without_rest(parts: dict[str, int]) -> dict[str, int]:
    return {name: peak for name, peak in parts.items() if name != BETWEEN}


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
