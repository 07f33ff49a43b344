"""Correlation loss on the differences between neighbouring samples of a batch."""

from __future__ import annotations

from torch import Tensor, nn

from ._inputs import feature_pair


def correlation_loss(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Product of the differences at neighbouring samples (CC, as public code has it).

    .. math:: L = \frac{1}{B - 1} \sum_{i=1}^{B-1} \bigl\langle |e^s_i - e^t_i|,\; |e^s_{i+1} - e^t_{i+1}| \bigr\rangle

    - :math:`e^s_i, e^t_i`: embedding of sample i, of B, by student and teacher, of one size.

    This is what the public comparisons of methods compute, with weight 0.02. The paper compares kernel matrices of the
    batch, as torchdistill's ``CCKDLoss`` does; its values are smaller by orders of magnitude and need another weight.
    Unlike in all other losses here, both sides get a gradient, because both embeddings are trained.

    Args:
        student: embeddings, shape (B, D).
        teacher: embeddings, shape (B, D); receives a gradient too.

    Returns:
        Scalar, float32 at least; 0 for a batch of one.

    Raises:
        ValueError: on shapes that do not fit.

    References:
        Peng et al., Correlation Congruence for Knowledge Distillation, ICCV 2019, Section 3.2; Eq. (5) has the kernels.

    Example:
        >>> import torch
        >>> student, teacher = torch.tensor([[1.0], [2.0], [0.0]]), torch.tensor([[0.0], [0.0], [3.0]])
        >>> correlation_loss(student, teacher)  # (1 * 2 + 2 * 3) / 2
        tensor(4.)
    """
    e_s, detached = feature_pair(student, teacher, ndim=2)
    if e_s.shape != detached.shape:
        raise ValueError(
            f"student and teacher must have embeddings of the same shape (B, D), found {tuple(student.shape)} and "
            f"{tuple(teacher.shape)}; ProjectedStudent and ProjectedTeacher project both to one size (dim)"
        )
    difference = (e_s - teacher.to(e_s.dtype)).abs()
    return (difference[:-1] * difference[1:]).sum() / max(len(e_s) - 1, 1)


class CorrelationLoss(nn.Module):
    """Module form of :func:`correlation_loss`."""

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the loss of embeddings (B, D) against embeddings (B, D)."""
        return correlation_loss(student, teacher)
