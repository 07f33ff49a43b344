"""Student wrapper with the regressors of VID."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchdistill.models.wrapper import Regressor4VID

from ..._checks import check_positive
from ...models.points.entries import PointEntry
from .feature import RegressorStudent


class VIDStudent(RegressorStudent):
    r"""Learn mean and variance of the teacher's features from the student's maps, for ``VIDLoss``.

    In training, every forward pass runs the submodule ``regressors.<name>`` on each pair's map. The config hooks its
    output, the pair (mean (B, c, H, W), variance (1, c, 1, 1)) that ``VIDLoss`` reads. The regressors are
    torchdistill's own ``Regressor4VID``: three 1x1 convolutions and one variance per channel. torchdistill's wrapper,
    ``VariationalDistributor4VID``, also works in a single process, but adds a prefix to every name in the student's
    checkpoint and runs the regressors where DistributedDataParallel does not see them.

    Args:
        pairs: as in :class:`~kd_plugins.host.students.feature.RegressorStudent`, like the keywords that are not here.
            A student map larger than ``size`` is average-pooled to it. For a larger teacher map use ``PooledVIDLoss``.
        initial_variance: initial variance of every channel.
        eps: lowest variance.

    Raises:
        ValueError: on an invalid pair, a point that the student does not have, or a value out of range.

    References:
        Ahn et al., Variational Information Distillation for Knowledge Transfer, CVPR 2019, Eq. (4) to (6).

    Example:
        In a config::

            student:
              forward_proc: forward_batch_only
              auxiliary_model_wrapper: {key: VIDStudent, kwargs: {pairs: [{student: stage3, channels: 256}]}}
              forward_hook: {output: [regressors.stage3]}
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
        initial_variance: float = 5.0,
        eps: float = 1e-5,
    ) -> None:
        check_positive("eps", eps)
        check_positive("initial_variance", initial_variance)
        if initial_variance <= eps:
            raise ValueError(f"initial_variance must be above eps ({eps}), found {initial_variance}")
        # The parent's constructor builds the regressors.
        self.variances = {"init_pred_var": initial_variance, "eps": eps}
        super().__init__(student_model, pairs=pairs, points=points, probe_size=probe_size)

    def _regressor(self, name: str, shape: Sequence[int], channels: int, size: tuple[int, int] | None) -> nn.Module:
        return SizedRegressor(shape[0], channels, channels, size=size, **self.variances)

    def _run(self, maps: Mapping[str, Tensor]) -> list[Tensor]:
        return [result for name in self.regressors for result in self.regressors[name](self._source(name, maps))]


class SizedRegressor(Regressor4VID):
    """torchdistill's regressor on maps that are first pooled to the teacher's size, if that is smaller."""

    def __init__(self, *args: Any, size: tuple[int, int] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.size = size

    def forward(self, feature_map: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, in_channels, H, W) to mean (B, c, H', W') and variance (1, c, 1, 1)."""
        if self.size is not None:
            height, width = feature_map.shape[2:]
            feature_map = F.adaptive_avg_pool2d(feature_map, (min(height, self.size[0]), min(width, self.size[1])))
        return super().forward(feature_map)
