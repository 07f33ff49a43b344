"""Classification: a batch is a tensor of images, a target a class index."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ...models.logits import describe_output
from ..metrics import METRICS
from .task import Scores, Task


class Classification(Task):
    """Images with class indices, or with several labels each."""

    name = "classification"

    def require(self) -> None:
        """Nothing is needed beyond the package's own requirements."""

    def shape(self, batch: Any) -> tuple[int, ...]:
        """Return the shape of the images."""
        return tuple(batch.shape)

    def scores(self, metric: str, device: torch.device, model: str) -> Scores:
        """Return the counts of an evaluation."""
        return METRICS[metric](device, model)

    def checked(self, outputs: Any, model: str) -> Any:
        """Return logits (B, C)."""
        if not isinstance(outputs, Tensor) or outputs.ndim != 2:
            found = describe_output(outputs)
            raise ValueError(f"{model} must return logits of shape (B, C) to be evaluated, found {found}")
        return outputs

    def own_loss(self, model: nn.Module, images: Any, targets: Any) -> Tensor:
        """Return the cross-entropy."""
        # The logits get no name, because they would live longer than in the trainer.
        return F.cross_entropy(next(x for x in tree_leaves(model(images)) if isinstance(x, Tensor)), targets)
