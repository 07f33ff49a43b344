"""Time of the trainer over that of a bare loop that takes the same steps with the same loader."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from ..config.build import quiet_torchdistill
from ..config.config import parse_config
from ..losses import soft_target_loss
from ..models import CIFAR_MODELS
from ..recipes import Request, recipe
from ..recipes.data.digits import IMAGES
from ..runtime.distributed import Processes, pick_device
from ..runtime.speed import images_channels_last
from ..training.run_folder import Options, RunFolder
from ..training.trainer import Trainer
from .timing import interleaved_medians

TARGET = 1.03
"""Largest wanted time of the trainer's epoch over the bare loop's."""


@dataclass(frozen=True)
class TrainerCost:
    """Seconds per epoch, each the median over the rounds."""

    bare: float  # teacher forward, student forward, loss, backward and step, nothing else
    epoch: float  # the trainer's epoch, with every term recorded and checked
    checkpoint: float  # writing the checkpoint after an epoch

    @property
    def ratio(self) -> float:
        """Time of the trainer's epoch over the bare loop's."""
        return self.epoch / self.bare


def run_trainer(
    *,
    rounds: int = 7,
    images: int = 5000,
    device: torch.device | str = "cpu",
    amp: str = "no",
    channels_last: bool = False,
) -> TrainerCost:
    """Measure epochs of KD from ResNet-20 to ResNet-8, the trainer's and the bare loop's in alternation.

    The digits, images of 32x32, are repeated until there are ``images``. ``amp`` and ``channels_last`` are for both.
    """
    with tempfile.TemporaryDirectory() as name, quiet_torchdistill():
        folder = Path(name)
        weights, run = folder / "teacher.pt", folder / "run"
        run.mkdir()
        torch.save(CIFAR_MODELS["cifar_resnet20"](num_classes=10).state_dict(), weights)
        text = recipe(Request("kd", "resnet20", "resnet8", "digits", checkpoint=str(weights)))
        config = parse_config(text, folder / "bench.yaml", [
            f"datasets.digits/train.init.kwargs.indices={[index % IMAGES for index in range(images)]}",
            "train.num_epochs=1000", "train.train_data_loader.kwargs.batch_size=64", "train.val_data_loader={}",
            "train.scheduler={}",
        ])  # fmt: skip
        options = Options(seed=0, amp=amp, world_size=1, channels_last=channels_last)
        procs = Processes(0, 1, pick_device(torch.device(device).type))
        trainer = Trainer(config, RunFolder(run), options, procs)
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
        if trainer.options.channels_last:
            batch = images_channels_last(batch)
        with trainer.precision.autocast():
            with torch.no_grad():
                teacher_logits = teacher(batch)  # type: ignore[misc]
            logits = student(batch)
        loss = 0.1 * F.cross_entropy(logits.float(), targets) + 0.9 * soft_target_loss(logits, teacher_logits)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
