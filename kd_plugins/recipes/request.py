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
        dataset: name of the data set, or ``folder:PATH``.
        base: method to which ``lskd`` or ``sfkd`` is applied.
        transforms: transforms before the first term, as on the command line: ``standardize,keep_salient=0.5``.
        epochs: number of epochs, on digits only; None for the schedule's.
        checkpoint: file with the teacher's weights; None for the default.
        options: changed settings of the method, ``KEY=VALUE`` each.
        schedule: name of a schedule that replaces the method's.
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

    @property
    def command(self) -> str:
        """The command that prints the config."""
        words = ["kd-plugins", "recipe", self.method]
        words += [] if self.teacher is None else ["--teacher", self.teacher]
        words += ["--student", self.student, "--dataset", self.dataset]
        words += [] if self.base is None else ["--base", self.base]
        words += [word for option in self.options for word in ("--option", option)]
        words += ["--with", self.transforms] if self.transforms else []
        return shlex.join([*words, *self.schedule_words])

    @property
    def schedule_words(self) -> list[str]:
        """The part of the command that names the schedule."""
        return [] if self.schedule is None else ["--schedule", self.schedule]
