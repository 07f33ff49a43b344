"""DKD: decoupled distillation of the target class and the other classes."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .._checks import check_at_least, check_class_indices, check_positive
from ..transforms.precision import autocast_off
from ._inputs import logit_pair
from ._module import LossModule
from ._once import refuse_second_derivative


def dkd_loss(
    student: Tensor,
    teacher: Tensor,
    targets: Tensor,
    *,
    alpha: float = 1.0,
    beta: float = 8.0,
    temperature: float = 4.0,
) -> Tensor:
    r"""Divergence of the target class against all others, and divergence among the others (DKD).

    .. math::
        L = \frac{\tau^2}{B} \sum_i \alpha\,\mathrm{KL}\bigl((p_y, 1 - p_y) \,\|\, (q_y, 1 - q_y)\bigr)
            + \beta\,\mathrm{KL}\bigl(\hat p \,\|\, \hat q\bigr)

    - :math:`p, q`: softmax of the teacher's and the student's logits of sample i, with label y, over :math:`\tau`,
    - :math:`\hat p, \hat q`: the same over all classes but y,
    - :math:`\alpha, \beta, \tau, B`: weights of the two parts, temperature, batch size.

    The authors' code masks the target by subtracting 1000 from its logit; here the normalisation excludes the target,
    so both parts are exact for any logits. It can be differentiated once.

    Args:
        student: logits, shape (B, C), C >= 2.
        teacher: logits, shape (B, C); receives no gradient.
        targets: class indices, shape (B,).
        alpha: :math:`\alpha \ge 0`.
        beta: :math:`\beta \ge 0`.
        temperature: :math:`\tau > 0`.

    Returns:
        Scalar, float32 at least.

    Raises:
        ValueError: on shapes that do not fit, soft labels, or an argument out of range.

    References:
        Zhao et al., Decoupled Knowledge Distillation, CVPR 2022, Eq. (7).

    Example:
        >>> student, teacher = torch.tensor([[0.0, 0.0, 0.0]]), torch.tensor([[2.0, 0.0, 1.0]])
        >>> dkd_loss(student, teacher, torch.tensor([0]), alpha=1.0, beta=0.0, temperature=1.0)
        tensor(0.2291)
    """
    z, v = logit_pair(student, teacher)
    targets = check_class_indices("DKD", targets, batch=len(z), classes=z.shape[1])
    check_positive("temperature", temperature)
    with autocast_off(z):
        return _Decoupled.apply(z, v, targets.unsqueeze(1), alpha, beta, temperature)


class _Decoupled(torch.autograd.Function):
    # The shortest version in ordinary operations takes 1.45 times as long (logits (1024, 1000), CPU).

    @staticmethod
    def forward(
        ctx: Any, student: Tensor, teacher: Tensor, index: Tensor, alpha: float, beta: float, tau: float
    ) -> Tensor:
        log_q, student_odds = _others(student, index, tau)
        log_p, teacher_odds = _others(teacher, index, tau)
        p = log_p.exp()
        difference = log_p.sub_(log_q).scatter_(1, index, 0.0)  # minus infinity on both sides at the target
        among_others = torch.linalg.vecdot(p, difference).unsqueeze(1)
        ctx.save_for_backward(log_q, p, index, torch.sigmoid(student_odds) - torch.sigmoid(teacher_odds))
        ctx.weights = alpha, beta, tau / len(student)
        rows = alpha * _binary_kl(student_odds, teacher_odds) + beta * among_others
        return tau**2 * rows.mean()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivative()
        log_q, p, index, surplus = ctx.saved_tensors
        alpha, beta, scale = ctx.weights
        scaled = scale * gradient
        of_target = alpha * surplus
        # exp(-inf) is 0, so the first two terms exclude the target.
        of_student = log_q.exp().mul_((beta - of_target) * scaled).addcmul_(p, -beta * scaled)
        return of_student.scatter_(1, index, of_target * scaled), None, None, None, None, None


def _others(logits: Tensor, index: Tensor, tau: float) -> tuple[Tensor, Tensor]:
    """Return log-probabilities without the target, -inf at the target, and the target's log-odds (B, 1)."""
    scaled = logits / tau
    other = (index + 1) % logits.shape[1]
    # The log-sum-exp of the others is the difference of any one's logit and log-probability.
    target_minus_other = scaled.gather(1, index) - scaled.gather(1, other)
    log_probabilities = F.log_softmax(scaled.scatter_(1, index, -torch.inf), dim=1)
    return log_probabilities, target_minus_other + log_probabilities.gather(1, other)


def _binary_kl(student_odds: Tensor, teacher_odds: Tensor) -> Tensor:
    """Return KL((p, 1 - p) || (q, 1 - q)) of probabilities given as log-odds."""
    target = torch.sigmoid(teacher_odds) * (F.logsigmoid(teacher_odds) - F.logsigmoid(student_odds))
    rest = torch.sigmoid(-teacher_odds) * (F.logsigmoid(-teacher_odds) - F.logsigmoid(-student_odds))
    return target + rest


class DKDLoss(LossModule):
    """Module form of :func:`dkd_loss`, with the authors' warm-up.

    The loss is multiplied by ``min(epoch / warmup, 1)``, with the first epoch counted as 1 as in the authors' code.
    Without ``set_epoch``, which ``pre_epoch_process: kd_pre_epoch`` calls in a config, the loss has its full weight.
    """

    def __init__(self, *, alpha: float = 1.0, beta: float = 8.0, temperature: float = 4.0, warmup: float = 20) -> None:
        super().__init__(alpha=alpha, beta=beta, temperature=temperature)
        check_at_least("alpha", alpha, 0)
        check_at_least("beta", beta, 0)
        check_positive("temperature", temperature)
        check_at_least("warmup", warmup, 0)
        self.warmup = warmup
        self.factor = 1.0

    def set_epoch(self, epoch: int) -> None:
        """Take the number of the epoch that begins, from 0."""
        self.factor = min((epoch + 1) / self.warmup, 1.0) if self.warmup else 1.0

    def forward(self, student: Tensor, teacher: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of logits (B, C) against logits (B, C) and labels (B,)."""
        return self.factor * dkd_loss(student, teacher, targets, **self.hyperparameters)

    def extra_repr(self) -> str:
        """Return the hyperparameters."""
        return f"{super().extra_repr()}, warmup={self.warmup}"
