"""The arguments of ``kd-plugins recipe``."""

from __future__ import annotations

import shlex
from dataclasses import dataclass


@dataclass(frozen=True)
class Request:
    """The method, models and data of a config.

    Attributes:
        method: such as ``lskd``, ``dkd_ls``, ``sp+kd``, or ``ce`` for training without a teacher.
        teacher: name of the teacher; several separated by commas; None for ``ce``.
        student: name of the student.
        dataset: name of the data set, ``torchvision:NAME``, ``folder:PATH`` or ``synthetic:DIR``.
        base: method to which ``lskd`` or ``sfkd`` is applied.
        transforms: transforms before the first term, as on the command line: ``standardize,keep_salient=0.5``.
        epochs: number of epochs, to which the schedule is scaled; None for the schedule's, as for the other two.
        checkpoint: file with the teacher's weights; None for the default.
        options: changed settings of the method, ``KEY=VALUE`` each.
        schedule: name of a schedule that replaces the method's.
        batch: batch size.
        lr: learning rate.
        size: height and width of the images.
        mean: of the normalisation, one number a channel; together with ``std``.
        std: likewise.
        augment: ``none``, ``crop-flip`` or ``imagenet``.
        train_images: number of training images.
        val_share: share of the training images that validate.
        split_seed: seed by which these are drawn.
        real: data set that validates training on synthetic images; None for the one that the folder names.
    """

    method: str
    teacher: str | None
    student: str
    dataset: str = "cifar100"
    base: str | None = None
    transforms: str = ""
    epochs: int | None = None
    checkpoint: str | None = None
    options: tuple[str, ...] = ()
    schedule: str | None = None
    batch: int | None = None
    lr: float | None = None
    size: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    augment: str | None = None
    train_images: int | None = None
    val_share: float | None = None
    split_seed: int = 0
    real: str | None = None

    @property
    def command(self) -> str:
        """The command that prints the config."""
        words = ["kd-plugins", "recipe", self.method]
        words += [] if self.teacher is None else ["--teacher", self.teacher]
        words += ["--student", self.student, "--dataset", self.dataset]
        words += [] if self.real is None else ["--real", self.real]
        words += [] if self.base is None else ["--base", self.base]
        words += [word for option in self.options for word in ("--option", option)]
        words += ["--with", self.transforms] if self.transforms else []
        return shlex.join([*words, *self.data_words(), *self.schedule_words])

    @property
    def schedule_words(self) -> list[str]:
        """The part of the command about the schedule."""
        return _words(schedule=self.schedule, epochs=self.epochs, batch=self.batch, lr=self.lr)

    def data_words(self, *, size: bool = True) -> list[str]:
        """Return the part of the command about the images, with or without their size."""
        return _words(
            size=self.size if size else None, mean=self.mean, std=self.std, augment=self.augment,
            train_images=self.train_images, val_share=self.val_share, split_seed=self.split_seed or None,
        )  # fmt: skip


def _words(**options: object) -> list[str]:
    given = {name: value for name, value in options.items() if value is not None}
    return [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", _text(value))]


def _text(value: object) -> str:
    return ",".join(map(repr, value)) if isinstance(value, tuple) else str(value)
