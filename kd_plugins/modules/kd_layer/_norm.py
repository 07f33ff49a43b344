"""Batch norm of a KD layer as statistics, scale and shift."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True)
class Norm:
    """A batch norm's statistics and its settings."""

    mean: Any  # running mean (K,), or None if there is none
    variance: Any
    training: bool  # use the batch's mean and variance, and update the running ones
    momentum: float
    eps: float

    @staticmethod
    def of(norm: nn.BatchNorm1d) -> Norm:
        """Return the statistics of a module; in training mode, also count the batch."""
        share = norm.momentum
        if norm.training and norm.num_batches_tracked is not None:
            norm.num_batches_tracked.add_(1)
            if share is None:
                share = 1.0 / float(norm.num_batches_tracked)
        training = norm.training or norm.running_mean is None
        return Norm(norm.running_mean, norm.running_var, training, share or 0.0, norm.eps)

    def remember(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Move the running statistics, as torch's batch norm does; a single position has a variance of 0."""
        if self.mean is not None:
            self.mean.lerp_(mean.to(self.mean), self.momentum)
            self.variance.lerp_((variance * (count / max(count - 1, 1))).to(self.variance), self.momentum)
