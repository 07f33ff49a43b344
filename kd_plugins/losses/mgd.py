"""Distillation by generating the teacher's feature map."""

from __future__ import annotations

from torch import Tensor, nn

from ._inputs import sized_pair


def mgd_loss(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Squared distance of a generated feature map from the teacher's, summed over the entries of a sample (MGD).

    .. math:: L = \frac{1}{B} \sum_i \lVert G(F^s_i \odot M_i) - F^t_i \rVert_2^2

    - :math:`F^s_i, F^t_i`: student's and teacher's map of sample i, of B,
    - :math:`G, M_i`: generator and random mask, see :class:`~kd_plugins.modules.MaskedGenerator` in the student's
      wrapper; the loss takes its output.

    Args:
        student: generated map, shape (B, c, H, W).
        teacher: map, shape (B, c, H', W'); receives no gradient. Both are average-pooled to the smaller size.

    Returns:
        Scalar, float32 at least.

    Raises:
        ValueError: on shapes that do not fit.

    References:
        Yang et al., Masked Generative Distillation, ECCV 2022, Eq. (3), divided by B as in the authors' code.

    Example:
        >>> import torch
        >>> mgd_loss(torch.zeros(1, 2, 1, 1), torch.tensor([[[[1.0]], [[3.0]]]]))  # 1 + 9
        tensor(10.)
    """
    generated, f_t = sized_pair(student, teacher)
    if generated.shape != f_t.shape:
        raise ValueError(
            f"student and teacher must have the same number of channels, found {generated.shape[1]} and "
            f"{f_t.shape[1]}; set channels of the pair of RegressorStudent to the teacher's"
        )
    return (generated - f_t).square().sum() / len(f_t)


class MGDLoss(nn.Module):
    """Module form of :func:`mgd_loss`."""

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the loss of a generated map (B, c, H, W) against a map (B, c, H', W')."""
        return mgd_loss(student, teacher)
