"""Logit distillation from the mean class probabilities of several teachers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .._checks import check_positive
from ._divergence import softened_kl
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
    - :math:`\tau`: temperature,
    - :math:`B, M`: batch size and number of teachers.

    It is the mean of the teachers' KD losses less what the teachers differ among themselves: the gradients are the
    same. With one teacher it is :func:`soft_target_loss`.

    Args:
        student: logits, shape (B, C), C >= 2.
        teachers: logits of each teacher, shape (B, C); receive no gradient.
        temperature: :math:`\tau > 0`.
        keep: each teacher's logits are masked first: a fraction in (0, 1] of the C classes, or an int, their number;
            None leaves them as they are.
        by: ``"value"`` or ``"magnitude"``, see :func:`~kd_plugins.transforms.keep_salient`.
        fill: ``"zero"`` or ``"-inf"``.

    Returns:
        Scalar, float32 at least.

    Raises:
        ValueError: on shapes that do not fit, no teachers, or an argument out of range.

    References:
        Hinton, Vinyals, Dean, Distilling the Knowledge in a Neural Network, 2015, Section 2 (ensembles); the
        baseline of Du et al., Agree to Disagree, NeurIPS 2020.

    Example:
        >>> student = torch.tensor([[0.0, 0.0]])
        >>> agree, disagree = torch.tensor([[0.0, 4.0]]), torch.tensor([[4.0, 0.0]])
        >>> average_ensemble_loss(student, [agree, agree], temperature=4.0)
        tensor(1.7751)
        >>> average_ensemble_loss(student, [agree, disagree], temperature=4.0).abs() < 1e-5
        tensor(True)
    """
    z, logits = teacher_logits(student, teachers)
    check_positive("temperature", temperature)
    logs = [F.log_softmax(mask_teacher(v, keep=keep, by=by, fill=fill) / temperature, dim=1) for v in logits]
    # Logits of the mean: the logarithm keeps what a probability would round to 0.
    mean = torch.stack(logs).logsumexp(0) - math.log(len(logs))
    return softened_kl(z, mean * temperature, temperature, divisor=temperature)


class AverageEnsembleLoss(nn.Module):
    """Module form of :func:`average_ensemble_loss`.

    Args:
        temperature: above 0.
        keep: a fraction in (0, 1] of the classes, an int, their number, or None for no mask.
        by: ``"value"`` or ``"magnitude"``.
        fill: ``"zero"`` or ``"-inf"``.

    Attributes:
        takes_minus_inf: a teacher's logit may be minus infinity, a class of probability 0.
    """

    takes_minus_inf = True

    def __init__(
        self,
        *,
        temperature: float = 4.0,
        keep: float | int | None = None,
        by: str = "value",
        fill: str = "zero",
    ) -> None:
        super().__init__()
        check_positive("temperature", temperature)
        check_mask(keep=keep, by=by, fill=fill)
        self.temperature = temperature
        self.keep = keep
        self.by = by
        self.fill = fill

    def forward(self, student: Tensor, teachers: Sequence[Tensor]) -> Tensor:
        """Return the loss of logits (B, C) against logits (B, C) of each teacher."""
        return average_ensemble_loss(
            student, teachers, temperature=self.temperature, keep=self.keep, by=self.by, fill=self.fill
        )

    def extra_repr(self) -> str:
        """Return the hyperparameters."""
        return f"temperature={self.temperature}, keep={self.keep}, by={self.by!r}, fill={self.fill!r}"
