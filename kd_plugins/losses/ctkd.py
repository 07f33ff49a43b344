"""CTKD: logit distillation at a learned temperature."""

from __future__ import annotations

from torch import Tensor, nn

from .kd import soft_target_loss


def ctkd_loss(student: Tensor, teacher: Tensor, temperature: Tensor) -> Tensor:
    r"""Divergence of softened class probabilities at a learned temperature (CTKD).

    .. math::
        L = \frac{1}{B} \sum_i \tau_i^2\,\mathrm{KL}\bigl(\mathrm{softmax}(v_i / \tau_i) \,\|\,
            \mathrm{softmax}(z_i / \tau_i)\bigr)

    - :math:`z_i, v_i`: student's and teacher's logits of sample i,
    - :math:`\tau_i`: temperature, one for all B samples or one per sample; its gradient flows through both sides and
      through :math:`\tau_i^2`, as in the authors' code.

    :mod:`kd_plugins.modules.temperature` computes the temperature and reverses its gradient, so that the task becomes
    harder for the student. On standardized logits it is the base temperature.

    Args:
        student: logits, shape (B, C), C >= 2.
        teacher: logits, shape (B, C); receives no gradient.
        temperature: :math:`\tau > 0`, with 1 or B elements.

    Returns:
        Scalar, float32 at least.

    Raises:
        ValueError: on shapes that do not fit.

    References:
        Li et al., Curriculum Temperature for Knowledge Distillation, AAAI 2023, Eq. (2).

    Example:
        >>> import torch
        >>> student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 4.0]])
        >>> ctkd_loss(student, teacher, torch.tensor([4.0]))
        tensor(1.7751)
    """
    if not isinstance(temperature, Tensor):
        raise ValueError(
            f"temperature of CTKD must be a learned tensor, found {temperature!r}; "
            "for a fixed temperature use SoftTargetLoss"
        )
    return soft_target_loss(student, teacher, temperature=temperature)


class CTKDLoss(nn.Module):
    """Module form of :func:`ctkd_loss`; it has no hyperparameters, which belong to the temperature."""

    def forward(self, student: Tensor, teacher: Tensor, temperature: Tensor) -> Tensor:
        """Return the loss of logits (B, C) against logits (B, C) at 1 or B temperatures."""
        return ctkd_loss(student, teacher, temperature)
