"""One stage of a config, as the rules see it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..config.keys import kwargs_of
from ..config.validate import placed_stages
from ..data.inside import base_datasets
from ..runtime.tasks import Task, task_named

Section = Mapping[str, Any]


@dataclass(frozen=True)
class Stage:
    """A stage: the config's objects, its section of ``train``, the section's YAML path, and its index from 0.

    A later stage inherits loaders and optimizer that it does not define.
    """

    built: Section
    section: Section
    path: tuple[str, ...]
    number: int

    @property
    def has_teacher(self) -> bool:
        """Whether the config has a teacher."""
        return "teacher_model" in self.built["models"]

    def side(self, name: str) -> Section:
        """Return the section of ``"teacher"`` or ``"student"``; without a teacher, the student's is ``model``."""
        return self.section.get(self.side_key(name)) or {}

    def trains(self, name: str) -> bool:
        """Tell whether the stage trains a side or a part of it."""
        there = name == "student" or self.has_teacher
        return there and self.side(name).get("requires_grad", True) is not False

    def side_key(self, name: str) -> str:
        """Return the key of a side in the stage."""
        return name if self.has_teacher else "model"

    def model_path(self, name: str) -> tuple[str, str]:
        """Return the YAML path of a side's model."""
        key = f"{name}_model"
        return ("models", key if key in self.built["models"] else "model")

    def model(self, name: str) -> Section:
        """Return the section of a side's model."""
        return self.built["models"].get(self.model_path(name)[1]) or {}

    def wrapper(self, name: str) -> Section:
        """Return the section of a side's model wrapper."""
        return self.side(name).get("auxiliary_model_wrapper") or {}

    @property
    def loader(self) -> Section:
        """The section of the training loader."""
        return self.section.get("train_data_loader") or {}

    @property
    def loader_path(self) -> tuple[str, ...]:
        """The YAML path of the training loader."""
        return (*self.path, "train_data_loader")

    @property
    def data(self) -> Any:
        """The training set; None if the stage does not name one."""
        return self.built["datasets"].get(self.loader.get("dataset_id"))

    @property
    def batches(self) -> int | None:
        """The number of batches per epoch in one process; None if the stage does not define it."""
        data, kwargs = self.data, kwargs_of(self.loader)
        size = kwargs.get("batch_size")
        if data is None or not isinstance(size, int) or size < 1 or self.loader.get("batch_sampler"):
            return None
        return len(data) // size if kwargs.get("drop_last") else math.ceil(len(data) / size)

    @property
    def data_classes(self) -> int | None:
        """The number of class names of the training set; None if it has none."""
        named = getattr(base_datasets(self.data)[0], "classes", None)
        return len(named) if isinstance(named, (list, tuple)) else None

    @property
    def classes(self) -> int | None:
        """The student's number of classes, from its kwargs or else from the training set."""
        said = kwargs_of(self.model("student")).get("num_classes")
        return said if isinstance(said, int) else self.data_classes

    @property
    def task(self) -> Task:
        """The task of the training loader."""
        return task_named(self.loader.get("collate_fn"))

    @property
    def model_term(self) -> Section:
        """The criterion's part that the student computes itself, such as a detector's losses."""
        return kwargs_of(self.section["criterion"]).get("model_term") or {}

    @property
    def terms(self) -> dict[str, Section]:
        """The terms of the criterion by name."""
        return kwargs_of(self.section["criterion"]).get("sub_terms") or {}

    @property
    def terms_path(self) -> tuple[str, ...]:
        """The YAML path of the terms."""
        return (*self.path, "criterion", "kwargs", "sub_terms")


def all_stages(built: Section) -> Iterator[Stage]:
    """Yield the stages of a config in order."""
    for number, (path, section) in enumerate(placed_stages(built["train"])):
        yield Stage(built, section, path, number)
