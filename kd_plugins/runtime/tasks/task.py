"""What training, tests and checks need to know of a task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from ..distributed import Processes


class Scores(Protocol):
    """Counts of an evaluation."""

    def add(self, outputs: Any, targets: Any) -> None:
        """Add a batch."""

    def result(self, processes: Processes) -> dict[str, Any]:
        """Return the scores over all processes."""


class Task(ABC):
    """One task.

    Attributes:
        name: for messages.
        background: number of a model's classes that no label names.
        most_images: largest batch of a check, or None.
    """

    name: ClassVar[str]
    background: ClassVar[int] = 0
    most_images: ClassVar[int | None] = None

    @property
    def collate(self) -> Callable[[Any], Any] | None:
        """Function that collates samples and checks them, or None."""
        return None

    @abstractmethod
    def require(self) -> None:
        """Raise ``ValueError`` if a package that measures the task is not installed."""

    @abstractmethod
    def shape(self, batch: Any) -> tuple[int, ...]:
        """Return the shape of a batch for messages; of images of several sizes, that of the first."""

    @abstractmethod
    def scores(self, metric: str, device: torch.device, model: str) -> Scores:
        """Return the counts of an evaluation; ``model`` is a name for messages.

        Raises:
            ValueError: if the metric does not suit the task.
        """

    @abstractmethod
    def checked(self, outputs: Any, model: str) -> Any:
        """Return a model's outputs; raise ``ValueError`` if the task cannot use them."""

    @abstractmethod
    def own_loss(self, model: nn.Module, images: Any, targets: Any) -> Tensor:
        """Return the loss of a model that is trained without a teacher."""
