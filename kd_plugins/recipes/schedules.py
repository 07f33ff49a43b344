"""The papers' training schedules: optimizer, epochs, learning rate, decay, batch."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .request import Request
from .writing.text import entry

STEPS = {"milestones": [150, 180, 210], "gamma": 0.1}


@dataclass(frozen=True)
class Schedule:
    """A training schedule."""

    source: str  # a sentence for the head of a config
    epochs: int
    batch: int  # per step and process
    optimizer: Mapping[str, Any]  # key and keywords, without the learning rate
    lr: float
    decay: str  # step, cosine, linear, warmup_cosine, one_cycle or warmup_steps
    decay_kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    decay_note: str = ""
    mobile_lr: float | None = None  # for MobileNet and ShuffleNet students; None for the same
    max_grad_norm: float | None = None
    label_smoothing: float = 0.0  # of the cross-entropy
    drop_last: bool = False
    workers: int = 8
    log_freq: int = 50
    whole: int = 0  # epochs before scaling; 0 if it was not scaled

    def steps(self, images: int) -> int:
        """Return the number of steps with a number of training images; 0 if neither is known."""
        return self.epochs * int(self.decay_kwargs.get("steps_per_epoch", -(-images // self.batch)))

    def lr_of(self, *, mobile: bool) -> float:
        """Return the learning rate for a student."""
        return self.mobile_lr if mobile and self.mobile_lr is not None else self.lr

    def optimizer_yaml(self, lr: float) -> dict[str, Any]:
        """Return the ``optimizer`` of a config."""
        kwargs = {key: value for key, value in self.optimizer.items() if key != "key"}
        made: dict[str, Any] = {"key": self.optimizer["key"], "kwargs": {"lr": lr, **kwargs}}
        if self.max_grad_norm is not None:
            made["max_grad_norm"] = self.max_grad_norm
        return made

    def scheduler_lines(self) -> list[str]:
        """Return the lines of the ``scheduler`` of a config."""
        if self.decay == "step":
            return entry("scheduler", {"key": "MultiStepLR", "kwargs": dict(self.decay_kwargs)}, 2)
        if self.decay == "cosine":
            return entry("scheduler", {"key": "CosineAnnealingLR", "kwargs": {"T_max": self.epochs}}, 2)
        if self.decay == "linear":
            kwargs = {"start_factor": 1.0, "end_factor": 0.0, "total_iters": self.epochs}
            return entry("scheduler", {"key": "LinearLR", "kwargs": kwargs}, 2)
        every_batch = "    scheduling_step: 1 # after every batch"
        if self.decay == "one_cycle":
            length = f"epochs: {self.epochs}, steps_per_epoch: {self.decay_kwargs['steps_per_epoch']}"
            kwargs_line = f"    kwargs: {{max_lr: {self.lr}, {length}}}"
            return ["  scheduler:", "    key: OneCycleLR", kwargs_line, every_batch]
        if self.decay == "warmup_steps":
            whole = self.steps(0)
            milestones = f"milestones: [{whole * 2 // 3}, {whole * 8 // 9}]"
            warmup = f"{milestones}, warmup: {min(1000, whole // 10)}, warmup_factor: 0.001"
            note = "in steps: warm-up, then a tenth at 2/3 and at 8/9"
            return [*_lambda_lines(note, "WarmupSteps", warmup), every_batch]
        warmup = ", ".join(f"{key}: {value}" for key, value in self.decay_kwargs.items())
        return _lambda_lines(self.decay_note, "WarmupCosine", f"epochs: {self.epochs}, {warmup}")


def _lambda_lines(note: str, key: str, kwargs: str) -> list[str]:
    return [
        f"  scheduler: # {note}",
        "    key: LambdaLR",
        "    kwargs:",
        "      lr_lambda: !import_call",
        f"        key: kd_plugins.schedules.{key}",
        f"        init: {{kwargs: {{{kwargs}}}}}",
    ]


def changed(schedule: Schedule, request: Request, *, images: int = 0) -> Schedule:
    """Return a schedule with the epochs, batch size and learning rate of a request.

    Milestones and warm-up keep their share of the epochs. ``images`` is the number of training images, 0 if unknown.

    Raises:
        ValueError: on a value out of range.

    Example:
        >>> made = changed(SCHEDULES["cifar_step"], Request("ce", None, "resnet20", epochs=12))
        >>> made.decay_kwargs["milestones"]
        [8, 9, 10]
        >>> made.source
        "Schedule: CRD's for CIFAR, 240 epochs. Scaled to 12 epochs: milestones 8, 9, 10, not 150, 180, 210."
    """
    check_numbers(request)
    if request.batch is not None and schedule.drop_last and 0 < images < request.batch:
        raise ValueError(f"--batch {request.batch}: there are {images} training images; lower it")
    told, values, note = [], dict(schedule.decay_kwargs), schedule.decay_note
    epochs = request.epochs or schedule.epochs
    if epochs != schedule.epochs:
        told.append(f"Scaled to {epochs} epoch{'s' * (epochs != 1)}")
        if "milestones" in values:
            before = values["milestones"]
            # MultiStepLR would decay twice at a milestone that is given twice.
            values["milestones"] = sorted({scaled(at, epochs, schedule.epochs) for at in before} - {epochs})
            told[-1] += f": milestones {_listed(values['milestones'])}, not {_listed(before)}"
        if "warmup_epochs" in values:
            before = values["warmup_epochs"]
            values["warmup_epochs"] = now = min(scaled(before, epochs, schedule.epochs), epochs - 1)
            told[-1] += f": warm-up {now}, not {before}"
            note = note.replace(f"{before} epochs of warm-up", f"{now} epoch{'s' * (now != 1)} of warm-up")
    if request.batch is not None or request.lr is not None:
        given = {"batch size": request.batch, "learning rate": request.lr}
        told.append("Given by the command: " + ", ".join(f"{key} {value}" for key, value in given.items() if value))
    source = " ".join([schedule.source, *(f"{sentence}." for sentence in told)]).strip()
    made = dataclasses.replace(schedule, source=source, epochs=epochs, decay_kwargs=values, decay_note=note)
    if epochs != schedule.epochs:
        made = dataclasses.replace(made, whole=schedule.epochs)
    return made if request.lr is None else dataclasses.replace(made, lr=request.lr, mobile_lr=None)


def scaled(epoch: int, epochs: int, of: int) -> int:
    """Return an epoch of a schedule of ``of`` epochs in one of ``epochs``, at least 1.

    Example:
        >>> scaled(20, 12, 240), scaled(150, 480, 240)
        (1, 300)
    """
    return max(1, round(epoch * epochs / of))


def check_numbers(request: Request) -> None:
    """Raise ``ValueError`` on epochs, a batch size or a learning rate out of range."""
    for flag, value in (("--epochs", request.epochs), ("--batch", request.batch)):
        if value is not None and value < 1:
            raise ValueError(f"{flag} must be a whole number of at least 1, found {value}")
    if request.lr is not None and not 0 < request.lr < math.inf:
        raise ValueError(f"--lr must be a number above 0, found {request.lr:g}")


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers)) or "none"


SGD = {"key": "SGD", "momentum": 0.9, "weight_decay": 0.0005}
NESTEROV = {**SGD, "nesterov": True}
IMAGENET_SGD = {**SGD, "weight_decay": 0.0001}
IMAGENET_NESTEROV = {**NESTEROV, "weight_decay": 0.0001}
IMAGENET_STEPS = {"milestones": [30, 60, 90], "gamma": 0.1}

SCHEDULES: dict[str, Schedule] = {
    "cifar_step": Schedule(
        "Schedule: CRD's for CIFAR, 240 epochs.", 240, 64, SGD, 0.05, "step", STEPS, mobile_lr=0.01
    ),
    "cifar_step_mlkd": Schedule(
        "Schedule: that of MLKD's authors, 480 epochs.", 480, 64, SGD, 0.025, "step", STEPS, mobile_lr=0.01
    ),
    "cifar_cosine_ckd": Schedule(
        "Schedule: that of CKD's public code, 480 epochs, cosine to 0.", 480, 64, SGD, 0.05, "cosine", mobile_lr=0.01
    ),
    "cifar_linear_lakd": Schedule(
        "Schedule: LAKD's for CIFAR, 300 epochs, linear to 0.", 300, 64, NESTEROV, 0.05, "linear"
    ),
    "cifar_step_letkd": Schedule(
        "Schedule: letKD's for CIFAR, 240 epochs.", 240, 64, NESTEROV, 0.05, "step", STEPS, mobile_lr=0.01
    ),
    "synthetic_cosine": Schedule(
        "Schedule: that of CMI for synthetic images, 200 epochs, cosine to 0.", 200, 256, SGD, 0.1, "cosine"
    ),
    "heterogeneous_cnn": Schedule(
        "Schedule: OFA-KD's scheme for CNN students, for 8 processes of 128 images. The public configs disagree on "
        "the learning rate (0.05 or 0.1); 0.05 here.",
        300, 128, {**SGD, "weight_decay": 0.002}, 0.05, "warmup_cosine",
        {"warmup_epochs": 3, "warmup_factor": 0.02, "final_factor": 0.02},
        "3 epochs of warm-up, then a cosine to 1e-3", label_smoothing=0.1, drop_last=True,
    ),
    "heterogeneous_vit": Schedule(
        "Schedule: OFA-KD's scheme for ViT students, for 8 processes of 128 images. Its mixup and cutmix are left out: "
        "they mix labels, and torchdistill's collate functions take no arguments.",
        300, 128, {"key": "AdamW", "weight_decay": 0.05}, 0.0005, "warmup_cosine",
        {"warmup_epochs": 20, "warmup_factor": 0.001, "final_factor": 0.02},
        "20 epochs of warm-up from 5e-7, then a cosine to 1e-5", max_grad_norm=5.0, label_smoothing=0.1, drop_last=True,
    ),
    "imagenet_step": Schedule(
        "Schedule: LSKD's for ImageNet, 100 epochs, 512 images a step over all processes.",
        100, 512, IMAGENET_SGD, 0.2, "step", IMAGENET_STEPS, drop_last=True,
    ),
    "imagenet_step_sfkd": Schedule(
        "Schedule: SFKD's for ImageNet, 120 epochs, 256 images a step over all processes.",
        120, 256, IMAGENET_SGD, 0.1, "step", IMAGENET_STEPS, drop_last=True,
    ),
    "imagenet_step_letkd": Schedule(
        "Schedule: letKD's for ImageNet, 100 epochs, 256 images a step over all processes.",
        100, 256, IMAGENET_NESTEROV, 0.1, "step", IMAGENET_STEPS, drop_last=True,
    ),
    "imagenet_linear_lakd": Schedule(
        "Schedule: LAKD's for ImageNet, 100 epochs, linear to 0, 128 images a step over all processes.",
        100, 128, IMAGENET_NESTEROV, 0.1, "linear", drop_last=True,
    ),
    "imagenet_cosine_ckd": Schedule(
        "Schedule: that of CKD's public code for ImageNet, 200 epochs, cosine to 0, 512 images a step over all "
        "processes.",
        200, 512, IMAGENET_SGD, 0.2, "cosine", drop_last=True,
    ),
}  # fmt: skip
