"""KD: KL divergence of softened logits."""

from __future__ import annotations

from torch import Tensor

from .._checks import check_positive
from ..transforms.temperature import temperature_column
from ._divergence import softened_kl
from ._inputs import logit_pair
from ._module import LossModule


def soft_target_loss(student: Tensor, teacher: Tensor, *, temperature: float | Tensor = 4.0) -> Tensor:
    r"""Divergence of the student's softened class probabilities from the teacher's.

    .. math::
        L = \frac{\tau^2}{B} \sum_i \mathrm{KL}\bigl(\mathrm{softmax}(v_i / \tau) \,\|\,
            \mathrm{softmax}(z_i / \tau)\bigr)

    - :math:`z_i, v_i`: student's and teacher's logits of sample i,
    - :math:`\tau, B`: temperature and batch size.

    The paper minimises the cross-entropy with the soft targets; the KL divergence, as in public code, has the same
    gradient, and is 0 if both sides agree. The cross-entropy with the labels is a separate term.

    Args:
        student: logits, shape (B, C), C >= 2.
        teacher: logits, shape (B, C); receives no gradient.
        temperature: :math:`\tau > 0`: a number, or a tensor with 1 or B elements, which receives a gradient.

    Returns:
        Scalar, float32 at least.

    Raises:
        ValueError: on shapes that do not fit, or a temperature out of range.

    References:
        Hinton, Vinyals, Dean, Distilling the Knowledge in a Neural Network, 2015, Section 2.

    Example:
        >>> import torch
        >>> student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 4.0]])
        >>> soft_target_loss(student, teacher, temperature=4.0)
        tensor(1.7751)
    """
    z, v = logit_pair(student, teacher)
    tau = temperature_column(temperature, len(z))
    if isinstance(tau, Tensor):
        return softened_kl(z / tau, v / tau, tau)
    return softened_kl(z, v, tau, divisor=tau, twice=True)


class SoftTargetLoss(LossModule):
    """Module form of :func:`soft_target_loss`."""

    takes_minus_inf = True

    def __init__(self, *, temperature: float = 4.0) -> None:
        super().__init__(temperature=temperature)
        check_positive("temperature", temperature)

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the loss of logits (B, C) against logits (B, C)."""
        return soft_target_loss(student, teacher, **self.hyperparameters)
