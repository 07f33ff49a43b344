"""FitNet hint loss: mean squared error between feature maps."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ._inputs import sized_pair


def hint_loss(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Mean squared difference of two feature maps (FitNet's hint).

    .. math:: L = \frac{1}{B c H W} \sum_i \lVert F^s_i - F^t_i \rVert_2^2

    - :math:`F^s_i, F^t_i`: student's and teacher's map of sample i, of B, c channels at H x W positions, average-pooled
      to the smaller size.

    The papers write half of the sum over all entries; public code, followed here, takes the mean, to which their
    published weights (100) belong. For another number of channels the student needs a regressor (``RegressorStudent``).

    Args:
        student: map, shape (B, c, H, W).
        teacher: map, shape (B, c, H', W'); receives no gradient.

    Returns:
        Scalar, float32 at least.

    Raises:
        ValueError: on shapes that do not fit.

    References:
        Romero et al., FitNets: Hints for Thin Deep Nets, ICLR 2015, Eq. (3). SFKD, under review, Eq. (2).

    Example:
        >>> import torch
        >>> hint_loss(torch.zeros(1, 2, 1, 1), torch.tensor([[[[1.0]], [[3.0]]]]))  # (1 + 9) / 2
        tensor(5.)
    """
    f_s, f_t = sized_pair(student, teacher)
    if f_s.shape[1] != f_t.shape[1]:
        channels, size = teacher.shape[1], list(teacher.shape[2:])
        raise ValueError(
            f"student and teacher must have the same number of channels, found {f_s.shape[1]} and {channels} in maps "
            f"{tuple(student.shape)} and {tuple(teacher.shape)}; give the student a regressor, here for its point "
            "stage3: under train.student, auxiliary_model_wrapper: {key: RegressorStudent, kwargs: {pairs: [{student: "
            f"stage3, channels: {channels}, size: {size}}}]}}}} and forward_hook: {{output: [regressors.stage3]}}, and "
            "student_module_path: regressors.stage3 in the loss"
        )
    return F.mse_loss(f_s, f_t)


class HintLoss(nn.Module):
    """Module form of :func:`hint_loss`."""

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the loss of a map (B, c, H, W) against a map (B, c, H', W')."""
        return hint_loss(student, teacher)
