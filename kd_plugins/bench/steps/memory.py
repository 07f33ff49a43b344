"""Peak memory of a training step.

Tensors are counted: parameters and buffers of both models, gradients, optimizer state, the batch, activations of the
student and of the teacher's forward, what autograd saves, and what is captured from the teacher. On the CPU their
storages are counted, without the memory that operations use internally. On CUDA the number is the allocator's
``max_memory_allocated``, which includes it. The second step is measured, because the first one creates the optimizer
state.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torchdistill.optim.registry import get_optimizer

from ...config.build import build_model
from ...config.config import Config
from ...runtime.tasks import task_of
from ..memory import LiveBytes, SavedBytes, bytes_of, tensors_in
from .clock import BETWEEN, Clock
from .training_step import Batch, TrainingStep

SCRATCH = "student from scratch, one backward"


@dataclass(frozen=True)
class MemoryRow:
    """Memory of one step in bytes; what autograd saved is without parameters and batch, and None for a floor."""

    name: str  # path of the config, or another name
    peak: int
    ratio: float = 1.0  # peak over that of training the student from scratch
    saved: int | None = None  # peak of what autograd saved for backward passes
    parts: dict[str, int] = field(default_factory=dict)  # peak of each part of a config's step, with existing tensors


def measure_memory(
    configs: Sequence[Config], *, device: torch.device, amp: str = "no"
) -> tuple[list[MemoryRow], list[int]]:
    """Measure a step of each config, one after the other, and of the first config's student alone.

    The reference is the student without its wrapper, trained by cross-entropy with the config's optimizer on the same
    batch. If a part of the student has a method ``memory_floor``, which returns bytes after a step, a row shows it.

    Returns:
        A row for each config, followed by its floor if it has one, and a row for the reference; and the batch size of
        each config.
    """
    if device.type == "cuda":
        torch.ones(8, 8, device=device).mm(torch.ones(8, 8, device=device))  # allocates the permanent workspace
    found: list[MemoryRow] = []
    images: list[int] = []
    scratch: list[MemoryRow] = []
    for config in configs:
        before = _allocated(device)
        with TrainingStep(config, device, amp) as step:
            batch = step.next_batch()
            images.append(len(batch[0]))
            found.append(replace(_peak_of_step(step, batch, before), name=str(config.path)))
            for module in step.student.modules():
                if callable(floor := getattr(module, "memory_floor", None)):
                    found.append(MemoryRow(f"floor of {config.path}", int(floor())))
                    break
            if not scratch:
                scratch.append(_peak_of_student(step, batch))
        del step, batch
        gc.collect()
    rows = [replace(row, ratio=row.peak / scratch[0].peak) for row in [*found, *scratch]]
    return rows, images


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
        lines += [f"  {name:<{width - 2}}  {peak / 2**20:>9.2f}" for name, peak in row.parts.items()]
    return "\n".join(lines)


def _peak_of_step(step: TrainingStep, batch: Batch, before: int) -> MemoryRow:
    box = step.box
    models = [getattr(box, name, None) for name in ("teacher_model", "org_teacher_model", "org_student_model")]
    modules = [m for m in (step.student, box.criterion, *step.terms.values(), *models) if m is not None]
    given = [*_state(modules), *tensors_in(batch)]

    def run() -> None:
        for _ in range(step.batches_a_step):
            step.train_on(batch)

    return _peak(run, given, step.procs.device, before, step.clock)


def _peak_of_student(step: TrainingStep, batch: Batch) -> MemoryRow:
    images, targets, _ = batch
    task = task_of(step.box.train_data_loader)
    # Do not count the step's models, which exist before; count the batch.
    before = _allocated(step.procs.device) - bytes_of(tensors_in(batch))
    name = "student_model" if "student_model" in step.built["models"] else "model"
    model = build_model(step.config, name, {**step.student_section, "src_ckpt": None}, step.procs).train()
    section = step.stage.get("optimizer") or {"key": "SGD", "kwargs": {"lr": 0.01}}
    optimizer = get_optimizer(model, section["key"], **(section.get("kwargs") or {}))

    def run() -> None:
        with step.precision.autocast():
            loss = task.own_loss(model, images, targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return _peak(run, [*_state([model]), *tensors_in(batch)], step.procs.device, before, Clock(step.procs.device))


def _peak(
    run: Callable[[], object], given: Sequence[Tensor], device: torch.device, before: int, clock: Clock
) -> MemoryRow:
    """Return the peak of the second of two runs, including ``given``, and of each section of the clock."""
    saved, counted, beside = SavedBytes(given), LiveBytes(given), bytes_of(given)
    on_cuda = device.type == "cuda"
    parts: dict[str, int] = {}

    def note(name: str) -> None:
        """Record the peak since the last call."""
        if on_cuda:
            found = torch.cuda.max_memory_allocated(device) - before
            torch.cuda.reset_peak_memory_stats(device)
        else:
            found, counted.peak = counted.peak + beside, counted.live
        parts[name] = max(parts.get(name, 0), found)

    with nullcontext() if on_cuda else counted:
        run()
        gc.collect()
        note(BETWEEN)
        parts.clear()
        clock.watch = note
        with saved:
            run()
        note(BETWEEN)
    peak = max(parts.values())
    del parts[BETWEEN]
    return MemoryRow(SCRATCH, peak, saved=saved.peak, parts=parts)


def _allocated(device: torch.device) -> int:
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else 0


def _state(modules: Iterable[nn.Module]) -> list[Tensor]:
    return [x for module in modules for x in (*module.parameters(), *module.buffers())]
