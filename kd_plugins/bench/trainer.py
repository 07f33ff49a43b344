"""What the trainer costs, next to a bare loop that takes the same steps over the same loader."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from ..config.build import quiet_torchdistill
from ..config.config import read_config
from ..losses import soft_target_loss
from ..models import CIFAR_MODELS
from ..runtime.distributed import Processes, pick_device
from ..training.run_folder import Options, RunFolder
from ..training.trainer import Trainer
from .timing import interleaved_medians

TARGET = 1.03
"""The most that an epoch of the trainer may cost, in units of the bare loop's."""

CONFIG = """\
dependencies: [kd_plugins]
datasets:
  &train digits/train: !import_call
    key: kd_plugins.data.Digits
    init: {kwargs: {train: True, transform: !import_call {key: torchvision.transforms.ToTensor}}}
models:
  teacher_model: {key: cifar_resnet20, kwargs: {num_classes: 10, frozen: True}}
  student_model: {key: cifar_resnet8, kwargs: {num_classes: 10}}
train:
  num_epochs: 1000
  pre_epoch_process: kd_pre_epoch
  train_data_loader:
    dataset_id: *train
    sampler: {class_or_func: !import_get {key: torch.utils.data.RandomSampler}}
    kwargs: {batch_size: 64, num_workers: 0}
  teacher: {forward_proc: forward_batch_only, requires_grad: False}
  student: {forward_proc: forward_batch_only}
  optimizer: {key: SGD, kwargs: {lr: 0.01, momentum: 0.9}}
  criterion:
    key: WeightedSumLoss
    kwargs:
      sub_terms:
        ce:
          criterion: {key: CrossEntropyLoss, kwargs: {}}
          criterion_wrapper:
            key: SimpleLossWrapper
            kwargs: {input: {is_from_teacher: False, module_path: '.', io: output}, target: {uses_label: True}}
          weight: 0.1
        kd: {criterion: {key: SoftTargetLoss, kwargs: {temperature: 4.0}}, weight: 0.9}
"""


@dataclass(frozen=True)
class TrainerCost:
    """Seconds an epoch, each the median over the rounds.

    Attributes:
        bare: teacher forward, student forward, loss, backward and step, nothing else.
        epoch: the trainer's epoch, with every term recorded and checked.
        checkpoint: what it writes after an epoch.
    """

    bare: float
    epoch: float
    checkpoint: float

    @property
    def ratio(self) -> float:
        """The trainer's epoch in units of the bare loop's."""
        return self.epoch / self.bare


def run_trainer(*, rounds: int = 7, device: torch.device | str = "cpu", overrides: tuple[str, ...] = ()) -> TrainerCost:
    """Measure epochs of KD on the digits, the trainer's and the bare loop's in turns.

    Args:
        rounds: timed epochs of each.
        device: where.
        overrides: ``KEY.PATH=VALUE`` strings that change the training.
    """
    with tempfile.TemporaryDirectory() as folder, quiet_torchdistill():
        path = Path(folder) / "bench.yaml"
        path.write_text(CONFIG, encoding="utf-8")
        weights = Path(folder) / "teacher.pt"
        torch.save(CIFAR_MODELS["cifar_resnet20"](num_classes=10).state_dict(), weights)
        overrides = (f"models.teacher_model.src_ckpt={weights}", *overrides)
        options = Options(seed=0, amp="no", world_size=1)
        procs = Processes(0, 1, pick_device(torch.device(device).type))
        run = Path(folder) / "run"
        run.mkdir()
        trainer = Trainer(read_config(path, overrides), RunFolder(run), options, procs)
        lines: list[dict[str, Any]] = []
        seconds = interleaved_medians(
            {
                "bare": lambda: _bare_epoch(trainer),
                "epoch": lambda: lines.append(trainer._epoch()),
                "checkpoint": lambda: trainer._save(lines[-1]),
            },
            rounds=rounds,
            warmup=1,
            device=device,
        )
    return TrainerCost(**seconds)


def format_trainer(cost: TrainerCost) -> str:
    """Return the measurement as text.

    Example:
        >>> print(format_trainer(TrainerCost(bare=2.0, epoch=2.03, checkpoint=0.01)))
        bare loop   2.000 s an epoch
        trainer     2.030 s an epoch, x 1.015 (target x 1.030: met)
        checkpoint  0.010 s an epoch
    """
    verdict = "met" if cost.ratio <= TARGET else "missed"
    return (
        f"bare loop   {cost.bare:.3f} s an epoch\n"
        f"trainer     {cost.epoch:.3f} s an epoch, x {cost.ratio:.3f} (target x {TARGET:.3f}: {verdict})\n"
        f"checkpoint  {cost.checkpoint:.3f} s an epoch"
    )


def _bare_epoch(trainer: Trainer) -> None:
    teacher, student, optimizer = trainer.teacher, trainer.student, trainer.box.optimizer
    device = trainer.procs.device
    student.train()
    for batch, targets, _ in trainer.box.train_data_loader:
        batch, targets = batch.to(device), targets.to(device)
        with torch.no_grad():
            teacher_logits = teacher(batch)  # type: ignore[misc]
        logits = student(batch)
        loss = 0.1 * F.cross_entropy(logits, targets) + 0.9 * soft_target_loss(logits, teacher_logits)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
