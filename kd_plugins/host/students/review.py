"""Student wrapper with the fusion modules of knowledge review (ReviewKD)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchdistill.models.wrapper import AttentionBasedFusion

from ..._checks import check_at_least
from ...models.points.entries import PointEntry
from .feature import RegressorStudent


class ReviewStudent(RegressorStudent):
    """Fuse each level of the student with the deeper ones, for ``HierarchicalContextLoss`` (ReviewKD).

    In training, every forward pass runs the submodules ``regressors.<name>``, torchdistill's own
    ``AttentionBasedFusion``, from the deepest level to the shallowest. The config hooks their outputs. Each is a pair:
    features with the teacher's channels and size, which the loss reads, and the residual for the next level. Each level
    is one term of the criterion. torchdistill's wrapper, ``Student4KnowledgeReview``, adds a prefix to every name in
    the student's checkpoint and runs the modules where DistributedDataParallel does not see them.

    Args:
        pairs: the levels from the shallowest to the deepest, each as in
            :class:`~kd_plugins.host.students.feature.RegressorStudent`; pooled features are a map of 1x1. If ``size``
            differs from the student's, the fused map is resized to it before the last convolution.
        mid_channels: channels of the residual between levels. The other keywords are those of ``RegressorStudent``.

    Raises:
        ValueError: on an invalid level, or a point that the student does not have.

    References:
        Chen et al., Distilling Knowledge via Knowledge Review, CVPR 2021, Section 3.2.

    Example:
        In a config::

            student:
              forward_proc: forward_batch_only
              auxiliary_model_wrapper:
                key: ReviewStudent
                kwargs: {pairs: [{student: stage2, channels: 128}, {student: stage3, channels: 256}]}
              forward_hook: {output: [regressors.stage2, regressors.stage3]}
    """

    def __init__(
        self,
        student_model: nn.Module,
        device: torch.device | None = None,
        device_ids: list[int] | None = None,
        distributed: bool = False,
        *,
        pairs: Sequence[Mapping[str, Any]],
        points: Sequence[PointEntry] = (),
        probe_size: int | Sequence[int] | None = None,
        mid_channels: int = 256,
    ) -> None:
        check_at_least("mid_channels", mid_channels, 1)
        # The parent's constructor builds the modules.
        self.mid_channels = mid_channels
        super().__init__(student_model, pairs=pairs, points=points, probe_size=probe_size)

    def _regressor(self, name: str, shape: Sequence[int], channels: int, size: tuple[int, int] | None) -> nn.Module:
        deepest = name == list(self.sources)[-1]
        return SizedFusion(shape[0], self.mid_channels, channels, uses_attention=not deepest, size=size)

    def _run(self, maps: Mapping[str, Tensor]) -> list[Tensor]:
        results: list[Tensor] = []
        residual: Tensor | None = None
        for name in reversed(list(self.regressors)):
            features, residual = self.regressors[name](self._source(name, maps), residual)
            results += [features, residual]
        return results


class SizedFusion(AttentionBasedFusion):
    """torchdistill's fusion with a step of the authors' code: a resize to the teacher's size before ``conv2``."""

    def __init__(self, *args: Any, size: tuple[int, int] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.size = size

    def forward(self, x: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Fuse the student's map x (B, c, H, W) with the deeper residual y; return features and residual."""
        x = self.conv1(x)
        if self.attention_conv is not None and y is not None:
            y = F.interpolate(y, x.shape[2:], mode="nearest")
            own, deeper = self.attention_conv(torch.cat([x, y], 1)).split(1, 1)
            x = x * own + y * deeper
        if self.size is not None and tuple(x.shape[2:]) != self.size:
            x = F.interpolate(x, self.size, mode="nearest")
        return self.conv2(x), x
