"""AEKD: logit distillation from several teachers, with weights from the agreement of their gradients."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .._checks import check_positive
from ._divergence import softened_kl
from ._min_norm import check_cap, row_weights
from ._module import LossModule
from ._teachers import check_mask, mask_teacher, teacher_logits


def aekd_loss(
    student: Tensor,
    teachers: Sequence[Tensor],
    *,
    temperature: float = 4.0,
    cap: float = 0.6,
    keep: float | int | None = None,
    by: str = "value",
    fill: str = "zero",
) -> Tensor:
    r"""Weighted sum of the KD losses of several teachers, along the shortest common descent direction (AEKD).

    .. math::
        L = \sum_m w_m L_m, \qquad
        w = \arg\min_{\sum_m w_m = 1,\; 0 \le w_m \le C} \tfrac12 \Bigl\lVert \sum_m w_m g_m \Bigr\rVert^2, \qquad
        g_m = \frac{\partial L_m}{\partial z} = \frac{\tau}{B}
            \bigl(\mathrm{softmax}(z / \tau) - \mathrm{softmax}(v^m / \tau)\bigr)

    - :math:`L_m`: :func:`soft_target_loss` of the student's logits z and those of teacher m, :math:`v^m`,
    - :math:`w_m`: its weight in this batch, see :func:`~kd_plugins.losses._min_norm.min_norm_weights`; no gradient
      passes through it,
    - :math:`C`: cap on each weight: 1 / M gives the mean of the losses, 1 allows a single teacher,
    - :math:`\tau, B, M`: temperature, batch size, number of teachers.

    Args:
        student: logits, shape (B, C), C >= 2.
        teachers: logits of each teacher, shape (B, C); receive no gradient.
        temperature: :math:`\tau > 0`.
        cap: :math:`C` in [1 / M, 1].
        keep: mask each teacher's logits first: a fraction in (0, 1] of the classes, or an int, their number.
        by: ``"value"`` or ``"magnitude"``, see :func:`~kd_plugins.transforms.keep_salient`.
        fill: ``"zero"`` or ``"-inf"``.

    Returns:
        Scalar, float32 at least.

    Raises:
        ValueError: on shapes that do not fit, no teachers, or an argument out of range.

    References:
        Du et al., Agree to Disagree: Adaptive Ensemble Knowledge Distillation in Gradient Space, NeurIPS 2020. The
        mask: Efficient Knowledge Distillation via Salient Feature Masking (SFKD), under review, Section 4.3.

    Example:
        >>> student = torch.tensor([[0.0, 0.0]])
        >>> one, other = torch.tensor([[0.0, 4.0]]), torch.tensor([[4.0, 0.0]])
        >>> aekd_loss(student, [one, other])  # opposite gradients: half each
        tensor(1.7751)
    """
    z, logits = teacher_logits(student, teachers)
    check_positive("temperature", temperature)
    logits = [mask_teacher(v, keep=keep, by=by, fill=fill) for v in logits]
    now = F.softmax(z.detach() / temperature, dim=1)
    gradients = torch.stack([(now - F.softmax(v / temperature, dim=1)).flatten() for v in logits])
    weights = row_weights(gradients, cap=cap)
    losses = torch.stack([softened_kl(z, v, temperature, divisor=temperature) for v in logits])
    return (weights * losses).sum()


class AEKDLoss(LossModule):
    """Module form of :func:`aekd_loss`."""

    takes_minus_inf = True

    def __init__(
        self,
        *,
        temperature: float = 4.0,
        cap: float = 0.6,
        keep: float | int | None = None,
        by: str = "value",
        fill: str = "zero",
    ) -> None:
        super().__init__(temperature=temperature, cap=cap, keep=keep, by=by, fill=fill)
        check_positive("temperature", temperature)
        check_cap(cap)
        check_mask(keep=keep, by=by, fill=fill)

    def forward(self, student: Tensor, teachers: Sequence[Tensor]) -> Tensor:
        """Return the loss of logits (B, C) against logits (B, C) of each teacher."""
        return aekd_loss(student, teachers, **self.hyperparameters)
