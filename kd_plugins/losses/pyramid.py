"""ReviewKD's hierarchical context loss on the levels of a feature pyramid."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .._checks import check_whole
from ._inputs import feature_pair
from ._module import LossModule

SIZES = (4, 2, 1)


def pyramid_loss(
    student: Sequence[Tensor], teacher: Sequence[Tensor], *, output_sizes: Sequence[int] = SIZES
) -> Tensor:
    r"""Mean squared differences of the levels of two pyramids, each also pooled to a few sizes.

    .. math::
        L = \sum_l \frac{\sum_{k=0}^{K_l} 2^{-k} \operatorname{MSE}(P_k(F^s_l), P_k(F^t_l))}{\sum_{k=0}^{K_l} 2^{-k}}

    - :math:`F^s_l, F^t_l`: student's and teacher's map of level l,
    - :math:`P_0`: the map itself; :math:`P_k`: its average pooling to the k-th of ``output_sizes`` that is smaller than
      the map's height. The maps need not be square.

    Args:
        student: maps (B, c, H, W), one per level; behind the fusion in ReviewKD.
        teacher: maps of the same shapes; receive no gradient.
        output_sizes: heights and widths to which the maps are pooled, from the largest.

    Returns:
        Scalar, float32 at least.

    Raises:
        ValueError: on shapes that differ, or other sizes.

    References:
        Chen et al., Distilling Knowledge via Knowledge Review, CVPR 2021, Section 3.3; the authors' code (weights).

    Example:
        >>> pyramid_loss([torch.zeros(1, 1, 1, 2)], [torch.tensor([[[[1.0, 3.0]]]])])  # (1 + 9) / 2
        tensor(5.)
    """
    _check_sizes(output_sizes)
    if len(student) != len(teacher) or not student:
        raise ValueError(
            f"student and teacher must be lists of as many maps, one per level, found {len(student)} and {len(teacher)}"
        )
    levels = enumerate(zip(student, teacher, strict=True))
    return torch.stack([_level(number, *pair, output_sizes) for number, pair in levels]).sum()


def _level(number: int, student: Tensor, teacher: Tensor, sizes: Sequence[int]) -> Tensor:
    f_s, f_t = feature_pair(student, teacher)
    if f_s.shape != f_t.shape:
        raise ValueError(
            f"the maps of level {number} must have one shape, found {tuple(student.shape)} and {tuple(teacher.shape)}: "
            "student and teacher need pyramids of the same strides and channels"
        )
    loss, factor, total = F.mse_loss(f_s, f_t), 1.0, 1.0
    for size in sizes:
        if size >= f_s.shape[2]:
            continue
        factor /= 2
        total += factor
        loss = loss + factor * F.mse_loss(F.adaptive_avg_pool2d(f_s, size), F.adaptive_avg_pool2d(f_t, size))
    return loss / total


def _check_sizes(sizes: Sequence[int]) -> None:
    for size in sizes:
        check_whole("output_sizes", size, 1)


class PyramidLoss(LossModule):
    """Module form of :func:`pyramid_loss`."""

    def __init__(self, *, output_sizes: Sequence[int] = SIZES) -> None:
        super().__init__(output_sizes=tuple(output_sizes))
        _check_sizes(output_sizes)

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
        """Return the loss of two lists of maps (B, c, H, W)."""
        return pyramid_loss(student, teacher, **self.hyperparameters)
