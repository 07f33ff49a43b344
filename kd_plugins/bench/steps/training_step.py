"""A config's training step, as the trainer takes it, with a clock around its parts."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator
from typing import Any

import torch
from torch import nn
from torchdistill.models.wrapper import AuxiliaryModelWrapper

from ...config.build import build_box, build_config, build_models
from ...config.config import Config
from ...config.validate import stages
from ...data.loading import batches
from ...fitting.sample import sample_statistics
from ...host.boxes.processes import complete_pre_epoch, criterion_terms
from ...runtime.distributed import Processes
from ...runtime.seed import seed_everything
from ...training.step import Precision, on_device, train_step
from ...training.terms import LossTerms
from ...training.trainer import DEFAULT_PROCESS
from .clock import Clock

LOADER, TEACHER, STUDENT = "loader", "teacher forward", "student forward"
STEP, TOTAL = "step", "total"
WARMUP = 3
"""Number of steps before the measured ones."""

Batch = tuple[Any, Any, Any]
"""Images, targets and torchdistill's supplement."""


def term_section(name: str) -> str:
    """Return the name of the section of a loss term's forward."""
    return f"term {name}"


class TrainingStep:
    """Takes optimisation steps of one stage of a config.

    Stages count from 0; earlier ones are set up, not trained. A step ends with an update, so it has several batches if
    gradients are accumulated. On exit, the context ends the loader's workers and removes its hooks.

    Raises:
        ValueError: on any mistake in the config or the data.
    """

    def __init__(self, config: Config, device: torch.device, amp: str = "no", *, stage: int = 0) -> None:
        self.config, self.procs = config, Processes(0, 1, device)
        self.precision = Precision(amp, device)
        seed_everything(0)
        self.built = build_config(config)
        teacher, student, self.student_section = build_models(config, self.built, self.procs)
        with sample_statistics(config, self.built, teacher, self.procs):
            self._set_up(teacher, student, stage)
        self._loader = self._batches()

    def _set_up(self, teacher: nn.Module | None, student: nn.Module, stage: int) -> None:
        """Build a box and advance it to the beginning of a stage."""
        self.box = build_box(self.config, self.built, teacher, student, self.procs, 0)
        every = list(stages(self.built["train"]).values())
        for _ in range(stage):
            self.box.advance_to_next_stage()
        self.stage = every[stage]
        self.own_process = self.stage.get("post_forward_process", DEFAULT_PROCESS) != DEFAULT_PROCESS
        # torchdistill sets a box's processes on the class, so a second box would change the first one's.
        for name in ("pre_epoch_process", "post_forward_process"):
            setattr(self.box, name, getattr(self.box, name))
        self.batches_a_step = 1 if self.own_process else self.box.grad_accum_step or 1
        self.terms = criterion_terms(self.box.criterion)
        self.term_inputs: dict[str, tuple[Any, ...]] | None = None
        self.clock = Clock(self.procs.device, warmup=WARMUP)
        self._handles: list[Any] = []
        self._watch()
        self._losses = LossTerms(self.box.criterion, self.procs.device)
        epoch = sum(earlier["num_epochs"] for earlier in every[:stage])
        self.box.pre_epoch_process(epoch=epoch)
        complete_pre_epoch(self.box, epoch)

    def __enter__(self) -> TrainingStep:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._loader.close()
        self._losses.close()
        for handle in self._handles:
            handle.remove()

    @property
    def student(self) -> nn.Module:
        """The trained student with its wrapper."""
        return self.box.student_model if self._has_teacher else self.box.model

    def run(self) -> None:
        """Take a step on new batches; its times become the clock's next lap."""
        with self.clock.section(TOTAL):
            for _ in range(self.batches_a_step):
                with self.clock.section(LOADER):
                    batch = self.next_batch()
                with self.clock.section(STEP):
                    self.train_on(batch)
        self.clock.end_lap()

    def next_batch(self) -> Batch:
        """Return the next batch, on the device; start over after the last one."""
        images, targets, *supplement = next(self._loader)
        return *on_device(images, targets, self.procs.device), supplement[0] if supplement else {}

    def train_on(self, batch: Batch) -> None:
        """Train on one batch, which may be only a part of a step."""
        train_step(
            self.box, *batch, precision=self.precision, terms=self._losses, step=str(self.config.path),
            own_process=self.own_process, section=self.clock.section,
        )  # fmt: skip

    @property
    def _has_teacher(self) -> bool:
        return hasattr(self.box, "teacher_model")

    def _batches(self) -> Generator[Any, None, None]:
        loader = self.box.train_data_loader
        if not len(loader):
            raise ValueError(
                f"{self.config.path}: the training loader is empty: the data set is smaller than a batch and "
                "drop_last is on"
            )
        while True:
            yield from batches(loader)

    def _watch(self) -> None:
        """Measure the forward of teacher, student and terms."""
        box = self.box
        if self._has_teacher:
            box.get_teacher_output = self._timed(TEACHER, box.get_teacher_output)
        side = "student" if self._has_teacher else "model"
        process = f"{side}_forward_proc"
        setattr(box, process, self._timed(STUDENT, getattr(box, process)))
        if isinstance(self.student, AuxiliaryModelWrapper):
            # torchdistill's own wrappers run their regressors in it.
            self.student.secondary_forward = self._timed(STUDENT, self.student.secondary_forward)
        for name, term in self.terms.items():
            self._watch_term(term_section(name), name, term)

    def _watch_term(self, section: str, name: str, term: nn.Module) -> None:
        def begin(_module: nn.Module, inputs: Any) -> None:
            if self.term_inputs is not None:
                self.term_inputs[name] = inputs
            self.clock.begin(section)

        self._handles.append(term.register_forward_pre_hook(begin))
        self._handles.append(term.register_forward_hook(lambda *_: self.clock.end(section)))

    def _timed(self, section: str, call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.clock.section(section):
                return call(*args, **kwargs)

        return timed
