"""What a checkpoint holds of a training, and how a training takes it up again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from ..host.processes import criterion_terms
from ..host.teacher_parts import frozen_tensors
from ..models.fingerprint import fingerprint
from .checkpoint import CheckpointError, load_tensors_beside, set_random_state, tensors_beside
from .distributed import unwrapped
from .identity import changed_data, data_identity

if TYPE_CHECKING:
    from .trainer import Trainer


@dataclass
class Progress:
    """How far a run is."""

    epoch: int = 0
    best: float | None = None
    best_epoch: int | None = None
    seconds: float = 0.0


@dataclass
class FrozenPart:
    """The part of a teacher that must stay as it is in a stage.

    Attributes:
        names: of its parameters and buffers.
        weights: their fingerprint.
    """

    names: list[str]
    weights: str

    @classmethod
    def of(cls, teacher: nn.Module) -> FrozenPart | None:
        """Return the frozen part, whose modules are in eval mode; None where everything is trained."""
        names = frozen_tensors(teacher)
        return cls(names, fingerprint(teacher, names)) if names else None

    def is_in(self, teacher: nn.Module | None) -> bool:
        """Tell whether a teacher still has it, bit for bit."""
        return teacher is not None and fingerprint(teacher, self.names) == self.weights


def collect(trainer: Trainer, randoms: list[dict[str, Any]], memories: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the state of a training at the end of an epoch, in types that load without running code.

    Args:
        trainer: the training.
        randoms: the random generators of every process, by rank.
        memories: what the losses of every process remember, likewise.
    """
    box = trainer.box
    trained = unwrapped(getattr(box, trainer.side))
    teacher = trainer.teacher if trainer.trains_teacher else None
    # Gradients of a step that accumulates over the end of the epoch.
    pending = box.stage_grad_count % (box.grad_accum_step or 1)
    return {
        "progress": vars(trainer.progress),
        "history": trainer.history,
        "teacher_before": trainer.teacher_before,
        "teacher_weights": trainer.teacher_weights,
        "data": data_identity(trainer.built),
        "stage": trainer.stage_name(),
        "stage_grad_count": box.stage_grad_count,
        "model": trainer.student.state_dict(),
        "adapters": tensors_beside(trained, trainer.student),
        "teacher": None if teacher is None else teacher.state_dict(),
        "beside_teacher": None if teacher is None else tensors_beside(unwrapped(box.teacher_model), teacher),
        "frozen": None if trainer.frozen is None else vars(trainer.frozen),
        "optimizer": box.optimizer.state_dict(),
        "gradients": [p.grad for p in _optimized(box)] if pending else None,
        "scheduler": box.lr_scheduler.state_dict() if box.lr_scheduler is not None else None,
        "scaler": trainer.precision.scaler.state_dict(),
        "random": randoms,
        "memories": memories,
    }


def loss_memories(box: Any) -> dict[str, dict[str, Any]]:
    """Return the state of the loss terms that have one, by name: CRD's memory of earlier features."""
    terms = criterion_terms(box.criterion).items()
    return {name: state for name, term in terms if (state := term.state_dict())}


def restore(trainer: Trainer, state: dict[str, Any]) -> None:
    """Put a freshly set up training where :func:`collect` found another; the random generators come last."""
    _refuse_other_content(trainer, state)
    trainer.progress = Progress(**state["progress"])
    trainer.history = state["history"]
    trainer.teacher_before = state["teacher_before"]
    trainer.trains_teacher = state["teacher"] is not None
    while trainer.stage_name() != state["stage"]:
        _skip_stage(trainer)
    box = trainer.box
    trainer.student.load_state_dict(state["model"])
    load_tensors_beside(unwrapped(getattr(box, trainer.side)), trainer.student, state["adapters"])
    if state["teacher"] is not None and trainer.teacher is not None:
        trainer.teacher.load_state_dict(state["teacher"])
        load_tensors_beside(unwrapped(box.teacher_model), trainer.teacher, state["beside_teacher"])
    trainer.frozen = FrozenPart(**state["frozen"]) if state["frozen"] else None
    box.optimizer.load_state_dict(state["optimizer"])
    for parameter, gradient in zip(_optimized(box), state["gradients"] or [], strict=False):
        parameter.grad = None if gradient is None else gradient.to(parameter.device)
    if box.lr_scheduler is not None:
        box.lr_scheduler.load_state_dict(state["scheduler"])
    trainer.precision.scaler.load_state_dict(state["scaler"])
    box.stage_grad_count = state["stage_grad_count"]
    if hasattr(box, "current_epoch"):
        box.current_epoch = trainer.progress.epoch
    terms = criterion_terms(box.criterion)
    for name, memory in state["memories"][trainer.procs.rank].items():
        terms[name].load_state_dict(memory)
    set_random_state(state["random"][trainer.procs.rank], box.train_data_loader)


def _refuse_other_content(trainer: Trainer, state: dict[str, Any]) -> None:
    """Refuse data or a teacher that are not those of the run; their files may lie elsewhere."""
    changed = changed_data(state["data"], data_identity(trainer.built))
    if changed is None and trainer.teacher_weights != state["teacher_weights"]:
        changed = "the teacher has other weights than before"
    if changed is not None:
        raise CheckpointError(
            f"{trainer.folder.path} cannot be resumed: {changed}. Give the run what it was started with, or start "
            "another one in another --run-dir"
        )


def _skip_stage(trainer: Trainer) -> None:
    """Advance a multi-stage box as its own method does, without writing its stage checkpoint again."""
    box = trainer.box
    box.clean_modules()
    box.stage_grad_count = 0
    box.stage_number += 1
    box.setup(trainer.stage())
    box.stage_end_epoch += trainer.stage()["num_epochs"]
    trainer.stage_began()


def _optimized(box: Any) -> list[nn.Parameter]:
    return [p for group in box.optimizer.param_groups for p in group["params"]]
