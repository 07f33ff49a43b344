"""What an analysis gets (models and a pass over the images), and what it gives: numbers, a table and a picture."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ..config.config import Config
from ..models.points.entries import PointEntry, ShownPoint, resolve_points
from ..models.points.probe import Place
from ..models.teacher_input import input_of
from ..runtime.distributed import Processes
from ..runtime.tasks import CLASSIFICATION, Task

TEACHER = "teacher"
Values = dict[str, Tensor]
Key = tuple[str, str]
"""Names of an analysis and of a model."""


@dataclass(frozen=True)
class Subject:
    """A model to analyse."""

    name: str  # `"teacher"`, or the name of the student's checkpoint
    title: str  # name of its architecture
    model: nn.Module  # maps a batch of the config's loader to logits
    inside: nn.Module  # the model without wrappers, whose modules are looked at
    size: tuple[int, int]  # height and width of the images that reach `inside`
    checkpoint: Path | None = None  # file of the student's weights

    def prepared(self, images: Tensor) -> Tensor:
        """Return a batch as it reaches ``inside``; a model that prepares its own batches does so itself."""
        own = None if self.model is self.inside else input_of(self.model)
        return images if own is None else own(images)

    def point(self, entry: PointEntry) -> ShownPoint:
        """Return a feature point or a raw path of the model; raise ``ValueError`` if it has none."""
        with torch.inference_mode(False):  # inference tensors would remain in the model
            return resolve_points(self.inside, [entry], probe_size=self.size)[0]


@dataclass(frozen=True)
class Batch:
    """A batch during the pass over the images."""

    images: Tensor  # as the data loader gives them, shape (B, c, H, W)
    labels: Tensor  # class indices, shape (B,)
    logits: Tensor  # of the model that runs, shape (B, C)


@dataclass(frozen=True)
class Reading:
    """What an analysis keeps of one model for every batch.

    Attributes:
        places: key -> module path, ``"input"`` or ``"output"``, and a function that reduces the tensor there at once,
            because a later module may change it in place.
        keep: returns what is kept of a batch, given these values; by default all of them.
    """

    places: Mapping[str, tuple[Place, Callable[[Any], Tensor]]]
    keep: Callable[[Batch, Values], Values] = lambda _batch, values: values


@dataclass
class Pass:
    """What the pass over the images has kept, on the CPU."""

    labels: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.long))  # shape (N,)
    logits: dict[str, Tensor] = field(default_factory=dict)  # of every model, shape (N, C)
    kept: dict[Key, list[Values]] = field(default_factory=dict)  # of every analysis and model, the values of each batch

    def of(self, analysis: str, subject: str, key: str) -> Tensor:
        """Return one value over all images, shape (N, ...)."""
        return torch.cat([values[key] for values in self.kept[analysis, subject]])


@dataclass
class Study:
    """A config's data and models."""

    config: Config
    built: Mapping[str, Any]  # its objects
    procs: Processes  # the processes of the run; there is only one
    seed: int  # seed of every draw
    runs: Mapping[str, Path]  # path and name of everything given as a checkpoint
    teacher: Subject | None = None  # the teacher, if the config has one
    students: tuple[Subject, ...] = ()  # one per checkpoint
    loader: DataLoader | None = None  # the chosen test images
    chosen: list[int] = field(default_factory=list)  # their indices in the test set
    images_wanted: int | None = None  # `--images`, if given
    classes: list[str] = field(default_factory=list)  # names of the classes; empty if they are unknown
    data: str = ""  # name of the test set
    task: Task = CLASSIFICATION  # classification or detection
    found: Pass = field(default_factory=Pass)  # what the pass over the images has kept

    @property
    def subjects(self) -> tuple[Subject, ...]:
        """The teacher, if any, then the students."""
        return self.students if self.teacher is None else (self.teacher, *self.students)

    @property
    def dataset(self) -> Any:
        """The chosen test images."""
        return None if self.loader is None else self.loader.dataset

    def class_name(self, label: int) -> str:
        """Return a class's name, or its number."""
        index = label - self.task.background
        return self.classes[index] if index < len(self.classes) else str(label)

    def images(self, rows: list[int]) -> Tensor:
        """Return some of the chosen images, shape (n, c, H, W)."""
        return torch.stack([self.dataset[row][0] for row in rows])

    def shown(self, rows: list[int]) -> dict[str, Any]:
        """Return the index in the test set and the class name of some of the chosen images."""
        labels = [self.class_name(int(self.found.labels[row])) for row in rows]
        return {"images": [self.chosen[row] for row in rows], "labels": labels}


class Analysis(ABC):
    """One value of ``--what``. A file of ``kinds`` defines one subclass; its keywords are its options.

    Attributes:
        name: the value of ``--what``, and name of the output files.
        title: what the picture shows.
        task: the task of the configs that it analyses; unused without models.
        needs_teacher: whether the config must have a teacher.
        needs_checkpoint: whether a student's checkpoint must be given.
        needs_models: whether models are built.
        needs_images: whether the models run over the test images; an instance may set it.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    task: ClassVar[Task] = CLASSIFICATION
    needs_teacher: ClassVar[bool] = False
    needs_checkpoint: ClassVar[bool] = False
    needs_models: ClassVar[bool] = True
    needs_images: bool = True

    def reads(self, study: Study, subject: Subject) -> Reading | None:
        """Return what to keep of a model beside its logits; None for nothing."""
        return None

    @abstractmethod
    def compute(self, study: Study) -> dict[str, Any]:
        """Return all numbers of table and picture, as types of JSON; they become ``W.json``."""

    @abstractmethod
    def table(self, result: Mapping[str, Any]) -> list[str]:
        """Return the lines to print."""

    @abstractmethod
    def draw(self, result: Mapping[str, Any], study: Study) -> Any:
        """Return the picture, a figure of matplotlib."""
