"""SFKD on logits: KL divergence with the teacher's K largest logits."""

from __future__ import annotations

from torch import Tensor

from .._checks import check_positive
from ..transforms.salient import check_salient, keep_salient
from ._divergence import softened_kl
from ._inputs import logit_pair
from ._module import LossModule


def sfkd_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    keep: float | int,
    temperature: float = 4.0,
    by: str = "value",
    fill: str = "zero",
) -> Tensor:
    r"""KL divergence from the softened probabilities of the teacher's K largest logits (SFKD, logit form).

    .. math::
        L = \frac{\tau^2}{B} \sum_i \mathrm{KL}\bigl(\mathrm{softmax}(v_i^K / \tau) \,\|\,
            \mathrm{softmax}(z_i / \tau)\bigr)

    - :math:`z_i, v_i`: student's and teacher's logits of sample i,
    - :math:`v^K`: the teacher's with all but the K largest masked, see :func:`~kd_plugins.transforms.keep_salient`,
    - :math:`\tau, B`: temperature and batch size.

    The paper's Eq. (1) is the cross-entropy with the masked teacher; this KL divergence differs by the masked teacher's
    entropy, which has no gradient, and is 0 at a perfect match. With ``fill="-inf"`` masked classes have target
    probability 0. With ``keep=1.0`` this is :func:`soft_target_loss`, bit for bit.

    Args:
        student: logits, shape (B, C), C >= 2.
        teacher: logits, shape (B, C); receives no gradient.
        keep: a fraction in (0, 1] of the C classes, or an int, their number.
        temperature: :math:`\tau > 0`.
        by: ``"value"`` or ``"magnitude"``.
        fill: ``"zero"`` as in the paper, or ``"-inf"`` to share the probability among the kept classes.

    Returns:
        Scalar, float32 at least.

    Raises:
        ValueError: on shapes that do not fit, or an argument out of range.

    References:
        Efficient Knowledge Distillation via Salient Feature Masking (SFKD), anonymous, under review, Eq. (1) and (5).

    Example:
        >>> import torch
        >>> student, teacher = torch.tensor([[0.0, 0.0, 0.0]]), torch.tensor([[5.0, 1.0, -2.0]])
        >>> sfkd_loss(student, teacher, keep=1, fill="-inf", temperature=1.0)  # all on one class: ln 3
        tensor(1.0986)
    """
    z, v = logit_pair(student, teacher)
    check_positive("temperature", temperature)
    v = keep_salient(v, keep=keep, by=by, fill=fill)
    return softened_kl(z, v, temperature, divisor=temperature)


class SFKDLoss(LossModule):
    """Module form of :func:`sfkd_loss`."""

    def __init__(self, *, keep: float | int, temperature: float = 4.0, by: str = "value", fill: str = "zero") -> None:
        super().__init__(keep=keep, temperature=temperature, by=by, fill=fill)
        check_salient(keep=keep, by=by, fill=fill)
        check_positive("temperature", temperature)

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the loss of logits (B, C) against logits (B, C)."""
        return sfkd_loss(student, teacher, **self.hyperparameters)
