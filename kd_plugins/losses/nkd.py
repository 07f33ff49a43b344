"""Distillation of the target class, and of the others normalised without it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .._checks import check_at_least, check_class_indices, check_positive
from ._inputs import logit_pair
from ._module import LossModule


def nkd_loss(
    student: Tensor, teacher: Tensor, targets: Tensor, *, gamma: float = 1.5, temperature: float = 1.0
) -> Tensor:
    r"""Cross-entropy with the teacher's target class and with its other classes, each normalised on its own (NKD).

    .. math::
        L = -\frac{1}{B} \sum_i \Bigl[ p_y \log q_y + \gamma \tau^2 \sum_{k \ne y} \hat p_k \log \hat q_k \Bigr]

    - :math:`p, q`: softmax of the teacher's and the student's logits of sample i, of B, with label y,
    - :math:`\hat p, \hat q`: softmax of the logits over :math:`\tau`, of all classes but y,
    - :math:`\gamma, \tau`: weight and temperature of the other classes; the target class has none.

    The cross-entropy with the labels, which the paper adds, is a term of its own.

    Args:
        student: logits, shape (B, C), C >= 2.
        teacher: logits, shape (B, C); receives no gradient.
        targets: class indices, shape (B,).
        gamma: :math:`\gamma \ge 0`.
        temperature: :math:`\tau > 0`.

    Returns:
        Scalar, float32 at least.

    Raises:
        ValueError: on shapes that do not fit, soft labels, or an argument out of range.

    References:
        Yang et al., From Knowledge Distillation to Self-Knowledge Distillation: A Unified Approach with Normalized Loss
        and Customized Soft Labels, ICCV 2023, Eq. (8).

    Example:
        >>> student, teacher = torch.tensor([[0.0, 0.0, 0.0]]), torch.tensor([[2.0, 0.0, 1.0]])
        >>> nkd_loss(student, teacher, torch.tensor([0]))
        tensor(1.7706)
    """
    z, v = logit_pair(student, teacher)
    targets = check_class_indices("NKD", targets, batch=len(z), classes=z.shape[1])
    check_at_least("gamma", gamma, 0)
    check_positive("temperature", temperature)
    index = targets.unsqueeze(1)
    of_target = F.softmax(v, 1).gather(1, index) * F.log_softmax(z, 1).gather(1, index)
    p = F.softmax((v / temperature).scatter(1, index, -torch.inf), 1)  # of the other classes
    log_q = F.log_softmax((z / temperature).scatter(1, index, -torch.inf), 1)
    of_others = (p * log_q.scatter(1, index, 0.0)).sum(1, keepdim=True)
    return -(of_target + gamma * temperature**2 * of_others).mean()


class NKDLoss(LossModule):
    """Module form of :func:`nkd_loss`."""

    def __init__(self, *, gamma: float = 1.5, temperature: float = 1.0) -> None:
        super().__init__(gamma=gamma, temperature=temperature)
        check_at_least("gamma", gamma, 0)
        check_positive("temperature", temperature)

    def forward(self, student: Tensor, teacher: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of logits (B, C) against logits (B, C) and labels (B,)."""
        return nkd_loss(student, teacher, targets, **self.hyperparameters)
