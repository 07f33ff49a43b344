"""Logit distillation from the mean class probabilities of several teachers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .._checks import check_positive
from ._divergence import softened_kl
from ._module import LossModule
from ._teachers import check_mask, mask_teacher, teacher_logits


def average_ensemble_loss(
    student: Tensor,
    teachers: Sequence[Tensor],
    *,
    temperature: float = 4.0,
    keep: float | int | None = None,
    by: str = "value",
    fill: str = "zero",
) -> Tensor:
    r"""Divergence of the student's softened class probabilities from the mean of the teachers'.

    .. math::
        L = \frac{\tau^2}{B} \sum_i \mathrm{KL}\Bigl(\frac1M \sum_m \mathrm{softmax}(v^m_i / \tau) \,\Big\|\,
            \mathrm{softmax}(z_i / \tau)\Bigr)

    - :math:`z_i, v^m_i`: logits of sample i of the student and of teacher m,
    - :math:`\tau, B, M`: temperature, batch size and number of teachers.

    It differs from the mean of the teachers' KD losses by a constant, so the gradients are the same. With one teacher
    it is :func:`soft_target_loss`.

    Args:
        student: logits, shape (B, C), C >= 2.
        teachers: logits of each teacher, shape (B, C); receive no gradient.
        temperature: :math:`\tau > 0`.
        keep: mask each teacher's logits first: a fraction in (0, 1] of the classes, or an int, their number.
        by: ``"value"`` or ``"magnitude"``, see :func:`~kd_plugins.transforms.keep_salient`.
        fill: ``"zero"`` or ``"-inf"``.

    Returns:
        Scalar, float32 at least.

    Raises:
        ValueError: on shapes that do not fit, no teachers, or an argument out of range.

    References:
        Hinton et al., Distilling the Knowledge in a Neural Network, 2015, Section 2; a baseline in the paper of AEKD.

    Example:
        >>> student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 4.0]])
        >>> average_ensemble_loss(student, [teacher, teacher], temperature=4.0)
        tensor(1.7751)
    """
    z, logits = teacher_logits(student, teachers)
    check_positive("temperature", temperature)
    logs = [F.log_softmax(mask_teacher(v, keep=keep, by=by, fill=fill) / temperature, dim=1) for v in logits]
    # The logarithm of the mean keeps what would round to 0 as a probability.
    mean = torch.stack(logs).logsumexp(0) - math.log(len(logs))
    return softened_kl(z, mean * temperature, temperature, divisor=temperature)


class AverageEnsembleLoss(LossModule):
    """Module form of :func:`average_ensemble_loss`."""

    takes_minus_inf = True

    def __init__(
        self, *, temperature: float = 4.0, keep: float | int | None = None, by: str = "value", fill: str = "zero"
    ) -> None:
        super().__init__(temperature=temperature, keep=keep, by=by, fill=fill)
        check_positive("temperature", temperature)
        check_mask(keep=keep, by=by, fill=fill)

    def forward(self, student: Tensor, teachers: Sequence[Tensor]) -> Tensor:
        """Return the loss of logits (B, C) against logits (B, C) of each teacher."""
        return average_ensemble_loss(student, teachers, **self.hyperparameters)
