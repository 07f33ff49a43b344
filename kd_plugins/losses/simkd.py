"""SimKD: feature loss for a student that ends in the teacher's classifier."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ._inputs import sized_pair


def simkd_loss(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Mean squared difference of the student's projected feature and the teacher's last feature map (SimKD).

    .. math:: L = \frac{1}{B c H W} \sum_i \lVert P(F^s_i) - F^t_i \rVert_2^2

    - :math:`F^s_i, F^t_i`: student's and teacher's last map of sample i, of B, average-pooled to the smaller size,
    - :math:`P`: the projector in the model ``simkd_student``, before the teacher's classifier.

    Args:
        student: projected map, shape (B, c, H, W).
        teacher: map, shape (B, c, H', W'); receives no gradient.

    Returns:
        Scalar, float32 at least.

    Raises:
        ValueError: on shapes that do not fit.

    References:
        Chen et al., Knowledge Distillation with the Reused Teacher Classifier, CVPR 2022, Eq. (2).

    Example:
        >>> import torch
        >>> simkd_loss(torch.ones(1, 2, 1, 1), torch.tensor([[[[1.0]], [[3.0]]]]))  # (0 + 4) / 2
        tensor(2.)
    """
    f_s, f_t = sized_pair(student, teacher)
    if f_s.shape[1] != f_t.shape[1]:
        raise ValueError(
            f"the projected student and the teacher must have the same number of channels, found {f_s.shape[1]} and "
            f"{f_t.shape[1]} in maps {tuple(student.shape)} and {tuple(teacher.shape)}; set models.student_model.key: "
            "simkd_student, hook its projector, and set student_module_path to the projector and teacher_module_path "
            "to the teacher's last map"
        )
    return F.mse_loss(f_s, f_t)


class SimKDLoss(nn.Module):
    """Module form of :func:`simkd_loss`."""

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the loss of a projected map (B, c, H, W) against a map (B, c, H', W')."""
        return simkd_loss(student, teacher)
