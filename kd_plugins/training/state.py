"""Save and restore the state of a training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import nn

from ..host.boxes.processes import criterion_terms
from ..host.teachers.parts import frozen_tensors
from ..models.fingerprint import fingerprint
from ..runtime.checkpoint import CheckpointError, load_tensors_beside, set_random_state, tensors_beside
from ..runtime.distributed import Processes, unwrapped
from .identity import changed_data, data_identity
from .run_folder import RunFolder
from .step import Precision, optimized


@dataclass
class Progress:
    """How far a run is."""

    epoch: int = 0
    best: float | None = None
    best_epoch: int | None = None
    seconds: float = 0.0


@dataclass
class FrozenPart:
    """Names of the parameters and buffers of a teacher that must not change, and a fingerprint of their values."""

    names: list[str]
    weights: str

    @classmethod
    def of(cls, teacher: nn.Module) -> FrozenPart | None:
        """Return the frozen part, whose modules are in eval mode; None if everything is trained."""
        names = frozen_tensors(teacher)
        return cls(names, fingerprint(teacher, names)) if names else None

    def is_in(self, teacher: nn.Module | None) -> bool:
        """Tell whether the part is unchanged in a teacher, bit for bit."""
        return teacher is not None and fingerprint(teacher, self.names) == self.weights


class Training(Protocol):
    """The attributes of a trainer that are saved in a checkpoint and restored from it."""

    folder: RunFolder
    procs: Processes
    precision: Precision
    built: Mapping[str, Any]
    box: Any
    side: str
    student: nn.Module
    teacher: nn.Module | None
    progress: Progress
    history: list[dict[str, Any]]
    teacher_before: dict[str, Any] | None
    teacher_weights: str | None
    frozen: FrozenPart | None
    trains_teacher: bool

    def stage_name(self) -> str:
        """Return the name of the current stage."""

    def stage(self) -> Mapping[str, Any]:
        """Return the current stage's section of the config."""

    def stage_began(self) -> None:
        """Adopt the criterion and the student that the box has set up."""


def collect(training: Training, randoms: list[dict[str, Any]], memories: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the state of a training at the end of an epoch, in types that load without running code.

    ``randoms`` and ``memories`` are the states of random generators and loss terms, by rank.
    """
    box = training.box
    trained = unwrapped(getattr(box, training.side))
    teacher = training.teacher if training.trains_teacher else None
    # Accumulated gradients of a step that spans the end of the epoch.
    pending = box.stage_grad_count % (box.grad_accum_step or 1)
    return {
        "progress": vars(training.progress),
        "history": training.history,
        "teacher_before": training.teacher_before,
        "teacher_weights": training.teacher_weights,
        "data": data_identity(training.built),
        "stage": training.stage_name(),
        "stage_grad_count": box.stage_grad_count,
        "model": training.student.state_dict(),
        "adapters": tensors_beside(trained, training.student),
        "teacher": None if teacher is None else teacher.state_dict(),
        "beside_teacher": None if teacher is None else tensors_beside(unwrapped(box.teacher_model), teacher),
        "frozen": None if training.frozen is None else vars(training.frozen),
        "optimizer": box.optimizer.state_dict(),
        "gradients": [p.grad for p in optimized(box)] if pending else None,
        "scheduler": box.lr_scheduler.state_dict() if box.lr_scheduler is not None else None,
        "scaler": training.precision.scaler.state_dict(),
        "random": randoms,
        "memories": memories,
    }


def loss_memories(box: Any) -> dict[str, dict[str, Any]]:
    """Return the non-empty state dicts of the loss terms, such as CRD's memory of features, by name."""
    terms = criterion_terms(box.criterion).items()
    return {name: state for name, term in terms if (state := term.state_dict())}


def restore(training: Training, state: dict[str, Any]) -> None:
    """Load the state from :func:`collect` into a new training; random generators are restored last."""
    _refuse_other_content(training, state)
    training.progress = Progress(**state["progress"])
    training.history = state["history"]
    training.teacher_before = state["teacher_before"]
    training.trains_teacher = state["teacher"] is not None
    while training.stage_name() != state["stage"]:
        _skip_stage(training)
    box = training.box
    training.student.load_state_dict(state["model"])
    load_tensors_beside(unwrapped(getattr(box, training.side)), training.student, state["adapters"])
    if state["teacher"] is not None and training.teacher is not None:
        training.teacher.load_state_dict(state["teacher"])
        load_tensors_beside(unwrapped(box.teacher_model), training.teacher, state["beside_teacher"])
    training.frozen = FrozenPart(**state["frozen"]) if state["frozen"] else None
    box.optimizer.load_state_dict(state["optimizer"])
    for parameter, gradient in zip(optimized(box), state["gradients"] or [], strict=False):
        parameter.grad = None if gradient is None else gradient.to(parameter.device)
    if box.lr_scheduler is not None:
        box.lr_scheduler.load_state_dict(state["scheduler"])
    training.precision.scaler.load_state_dict(state["scaler"])
    box.stage_grad_count = state["stage_grad_count"]
    if hasattr(box, "current_epoch"):
        box.current_epoch = training.progress.epoch
    terms = criterion_terms(box.criterion)
    for name, memory in state["memories"][training.procs.rank].items():
        terms[name].load_state_dict(memory)
    set_random_state(state["random"][training.procs.rank], box.train_data_loader)


def _refuse_other_content(training: Training, state: dict[str, Any]) -> None:
    """Refuse data or a teacher that differ from those of the run; their file paths may differ."""
    changed = changed_data(state["data"], data_identity(training.built))
    if changed is None and training.teacher_weights != state["teacher_weights"]:
        changed = "the teacher's weights have changed"
    if changed is not None:
        raise CheckpointError(
            f"{training.folder.path} cannot be resumed: {changed}. Restore what the run was started with, or start a "
            "new run in another --run-dir"
        )


def _skip_stage(training: Training) -> None:
    """Advance a multi-stage box like its own method, but do not rewrite the stage checkpoint."""
    box = training.box
    box.clean_modules()
    box.stage_grad_count = 0
    box.stage_number += 1
    box.setup(training.stage())
    box.stage_end_epoch += training.stage()["num_epochs"]
    training.stage_began()
