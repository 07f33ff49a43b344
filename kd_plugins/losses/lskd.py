"""LSKD: KL divergence of standardized logits."""

from __future__ import annotations

from torch import Tensor

from .._checks import check_choice, check_positive
from ..transforms.standardize import standardize
from ..transforms.temperature import temperature_column
from ._divergence import softened_kl
from ._inputs import logit_pair
from ._module import LossModule


def lskd_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    temperature: float | Tensor = 2.0,
    correction: int = 0,
    centre: bool = True,
    scale: bool = True,
) -> Tensor:
    r"""KL divergence of the softmax of standardized logits (LSKD).

    .. math::
        L = \frac{\tau^2}{B} \sum_i \mathrm{KL}\bigl(\mathrm{softmax}(Z(v_i; \tau)) \,\|\,
            \mathrm{softmax}(Z(z_i; \tau))\bigr)

    - :math:`z_i, v_i`: student's and teacher's logits of sample i,
    - :math:`Z`: Z-score over the classes, divided by :math:`\tau`, with the bounded gradient of
      :func:`~kd_plugins.transforms.standardize`,
    - :math:`\tau, B`: base temperature and batch size.

    The loss is invariant to a shift and a positive scale of either side. The standard deviation divides by C as in the
    paper; the authors' code, which the factor :math:`\tau^2` is from, divides by C - 1 (``correction=1``).

    Args:
        student: logits, shape (B, C), C >= 2.
        teacher: logits, shape (B, C); receives no gradient.
        temperature: :math:`\tau > 0`: a number, or a tensor with 1 or B elements, which receives a gradient.
        correction: 0 divides the variance by C, 1 by C - 1.
        centre: whether the mean is subtracted, for the paper's Table 4; the softmax does not depend on it.
        scale: whether the standard deviation divides, likewise; without, it is KD at this temperature.

    Returns:
        Scalar, float32 at least.

    Raises:
        ValueError: on shapes that do not fit, or an argument out of range.

    References:
        Sun et al., Logit Standardization in Knowledge Distillation, CVPR 2024, Section 4.3, Algorithms 1 and 2.

    Example:
        >>> import torch
        >>> teacher = torch.tensor([[1.0, 2.0, 4.0]])
        >>> bool(lskd_loss(5 * teacher - 7, teacher) < 1e-6)
        True
    """
    z, v = logit_pair(student, teacher)
    tau = temperature_column(temperature, len(z))
    z, v = (standardize(x, temperature=tau, correction=correction, centre=centre, scale=scale) for x in (z, v))
    return softened_kl(z, v, tau)


class LSKDLoss(LossModule):
    """Module form of :func:`lskd_loss`."""

    def __init__(
        self, *, temperature: float = 2.0, correction: int = 0, centre: bool = True, scale: bool = True
    ) -> None:
        super().__init__(temperature=temperature, correction=correction, centre=centre, scale=scale)
        check_positive("temperature", temperature)
        check_choice("correction", correction, (0, 1))

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the loss of logits (B, C) against logits (B, C)."""
        return lskd_loss(student, teacher, **self.hyperparameters)

    def extra_repr(self) -> str:
        """Return the hyperparameters; the parts of the Z-score only where one is left out."""
        parts = "" if self.centre and self.scale else f", centre={self.centre}, scale={self.scale}"
        return f"temperature={self.temperature}, correction={self.correction}{parts}"
