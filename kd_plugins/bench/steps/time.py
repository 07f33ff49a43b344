"""Time of a training step and of its parts."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from ..._checks import check_at_least
from ...training.step import BACKWARD, OPTIMIZER, OWN_PROCESS
from ..memory import tensors_in
from ..timing import interleaved_medians
from .training_step import LOADER, STEP, STUDENT, TEACHER, TOTAL, WARMUP, TrainingStep, term_section

REST = "rest"


@dataclass(frozen=True)
class Part:
    """A part of the step; a loss term with a gradient also has the time of its own backward pass.

    That pass goes down to the term's inputs from the student. The part ``backward`` includes it.
    """

    name: str  # that of a loss term begins with "term"
    milliseconds: float  # median over the rounds
    percent: float  # share of the sum of all parts
    backward_milliseconds: float | None = None


@dataclass(frozen=True)
class StepTime:
    """A step's time in milliseconds."""

    parts: tuple[Part, ...]  # in the order of the step, then "rest": torchdistill and the trainer in between
    step: float  # without waiting for the batch
    total: float  # with waiting for the batch; a median, so the sum of the parts only comes close
    images: int  # number of images that the student sees in a step

    @property
    def images_per_second(self) -> float:
        """Images that the student sees per second."""
        return 1e3 * self.images / self.total


def measure_time(steps: Sequence[TrainingStep], *, rounds: int) -> list[StepTime]:
    """Take ``rounds`` steps of several configs on one device in alternation, and return the median times of each.

    Raises:
        ValueError: if ``rounds`` is below 1.
    """
    check_at_least("rounds", rounds, 1)
    device = steps[0].procs.device
    runs: dict[str, Callable[[], object]] = {str(number): step.run for number, step in enumerate(steps)}
    interleaved_medians(runs, rounds=rounds, warmup=WARMUP, device=device)
    return [_summary(step, step.clock.measured(rounds), rounds) for step in steps]


def ratios(first: TrainingStep, second: TrainingStep, *, rounds: int) -> dict[str, float]:
    """Return the first one's time over the second one's, of ``step`` and ``total``, after :func:`measure_time`.

    It is the median of the ratios within each round, because a slow phase of the machine affects both alike.
    """
    pairs = list(zip(first.clock.measured(rounds), second.clock.measured(rounds), strict=True))
    return {name: statistics.median(a[name] / b[name] for a, b in pairs) for name in (STEP, TOTAL)}


def own_backwards(step: TrainingStep, *, rounds: int) -> dict[str, float]:
    """Return the seconds of every loss term's own backward pass, down to its inputs from the student.

    Terms without a gradient are left out.
    """
    step.term_inputs = {}
    step.run()
    inputs, step.term_inputs = step.term_inputs, None
    runs: dict[str, Callable[[], object]] = {}
    for name, (student, *others) in inputs.items():
        leaves = tree_map_only(Tensor, lambda x: x.detach().requires_grad_(x.requires_grad), student)
        wanted = [leaf for leaf in tensors_in(leaves) if leaf.requires_grad]
        with step.precision.autocast():
            value = step.terms[name](leaves, *others)
        if wanted and isinstance(value, Tensor) and value.requires_grad:
            runs[name] = partial(torch.autograd.grad, value, wanted, retain_graph=True, allow_unused=True)
    return interleaved_medians(runs, rounds=rounds, warmup=1, device=step.procs.device)


def format_time(time: StepTime) -> str:
    """Return the times as a table.

    Example:
        >>> parts = (Part("loader", 2.0, 20.0), Part("student forward", 5.0, 50.0), Part("term kd", 3.0, 30.0, 0.5))
        >>> print(format_time(StepTime(parts, step=8.0, total=10.0, images=64)))
        part                    ms      %  own backward ms
        loader                2.00   20.0
        student forward       5.00   50.0
        term kd               3.00   30.0             0.50
        step                  8.00   80.0
        total                10.00  100.0
        6400.0 img/s
    """
    in_step = sum(part.percent for part in time.parts if part.name != LOADER)
    rows = [*time.parts, Part(STEP, time.step, in_step), Part(TOTAL, time.total, 100.0)]
    width = max(len(row.name) for row in rows)
    lines = [f"{'part':<{width}}  {'ms':>9}  {'%':>5}  own backward ms"]
    for row in rows:
        own = "" if row.backward_milliseconds is None else f"  {row.backward_milliseconds:>15.2f}"
        lines.append(f"{row.name:<{width}}  {row.milliseconds:>9.2f}  {row.percent:>5.1f}{own}")
    return "\n".join([*lines, f"{time.images_per_second:.1f} img/s"])


def _summary(step: TrainingStep, laps: Sequence[Mapping[str, float]], rounds: int) -> StepTime:
    order = [LOADER, TEACHER, STUDENT, *map(term_section, step.terms), BACKWARD, OPTIMIZER, OWN_PROCESS]
    names = [name for name in order if any(name in lap for lap in laps)]
    inside = [name for name in names if name != LOADER]
    laps = [{**lap, REST: lap[STEP] - sum(lap.get(name, 0.0) for name in inside)} for lap in laps]
    median = {name: 1e3 * statistics.median(lap.get(name, 0.0) for lap in laps) for name in (*names, REST, STEP, TOTAL)}
    own = {term_section(name): 1e3 * seconds for name, seconds in own_backwards(step, rounds=rounds).items()}
    everything = sum(median[name] for name in (*names, REST))
    parts = (Part(name, median[name], 100 * median[name] / everything, own.get(name)) for name in (*names, REST))
    images = len(step.next_batch()[0]) * step.batches_a_step
    return StepTime(tuple(parts), median[STEP], median[TOTAL], images)
