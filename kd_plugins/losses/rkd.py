"""RKD: distillation of distances and angles between the samples of a batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .._checks import check_at_least
from ..transforms.precision import full_matmul
from ._inputs import LENGTH_FLOOR, feature_pair
from ._module import LossModule


def relational_loss(
    student: Tensor, teacher: Tensor, *, distance_weight: float = 25.0, angle_weight: float = 50.0
) -> Tensor:
    r"""Difference of the distances and angles between samples (RKD).

    .. math::
        L = \frac{w_d}{B^2} \sum_{i,j} \ell\Bigl(\frac{d^s_{ij}}{\mu^s}, \frac{d^t_{ij}}{\mu^t}\Bigr) +
            \frac{w_a}{B^3} \sum_{i,j,k} \ell(\cos^s_{ijk}, \cos^t_{ijk})

    - :math:`d_{ij}`: distance of the features of samples i and j, :math:`\mu` its mean over the pairs that are apart,
    - :math:`\cos_{ijk}`: cosine of the angle at sample i between the samples j and k, 0 where i coincides with one,
    - :math:`\ell`: Huber loss, quadratic up to 1,
    - :math:`w_d, w_a, B`: weights of distances and angles, and batch size.

    Value and gradient equal those of torchdistill's ``RKDLoss`` unless two samples of the batch have (nearly) the same
    features. Then that loss has gradients of 1e9 and more, and for a batch of one it is NaN. Here samples closer than
    1e-4 count as equal: they have no angle, and the gradient of their distance is bounded. A batch of one has loss 0.

    Args:
        student: features, shape (B, ...).
        teacher: features, shape (B, ...); receives no gradient.
        distance_weight: :math:`w_d \ge 0`.
        angle_weight: :math:`w_a \ge 0`.

    Returns:
        Scalar, float32 at least.

    Raises:
        ValueError: on shapes that do not fit, or a negative weight.

    References:
        Park et al., Relational Knowledge Distillation, CVPR 2019, Eq. (5) to (9).

    Example:
        >>> student, teacher = torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([[0.0], [2.0], [6.0]])
        >>> relational_loss(student, teacher)  # the same shape, twice as large
        tensor(0.)
    """
    f_s, f_t = feature_pair(student, teacher, ndim=None)
    check_relational(distance_weight=distance_weight, angle_weight=angle_weight)
    (d_s, cos_s), (d_t, cos_t) = (_relations(x.flatten(1)) for x in (f_s, f_t))
    return distance_weight * F.smooth_l1_loss(d_s, d_t) + angle_weight * F.smooth_l1_loss(cos_s, cos_t)


def check_relational(*, distance_weight: float, angle_weight: float) -> None:
    """Raise ``ValueError`` on invalid weights of :func:`relational_loss`."""
    check_at_least("distance_weight", distance_weight, 0)
    check_at_least("angle_weight", angle_weight, 0)


def _relations(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the distances (B, B), with mean 1 over pairs that are apart, and the cosines (B, B, B)."""
    apart = x.unsqueeze(0) - x.unsqueeze(1)
    squared = apart.square().sum(2)
    # The root has a floor for a finite gradient; below it the square replaces it.
    root = squared.clamp(min=LENGTH_FLOOR**2).sqrt()
    coincide = (squared < LENGTH_FLOOR**2).unsqueeze(2)
    cosines = full_matmul((apart / root.unsqueeze(2)).masked_fill(coincide, 0))
    distance = torch.minimum(root, squared / LENGTH_FLOOR)
    mean = distance.sum() / (squared > 0).sum().clamp(min=1)
    return distance / mean.clamp(min=LENGTH_FLOOR), cosines


class RelationalLoss(LossModule):
    """Module form of :func:`relational_loss`."""

    def __init__(self, *, distance_weight: float = 25.0, angle_weight: float = 50.0) -> None:
        super().__init__(distance_weight=distance_weight, angle_weight=angle_weight)
        check_relational(distance_weight=distance_weight, angle_weight=angle_weight)

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the loss of features (B, ...) against features (B, ...)."""
        return relational_loss(student, teacher, **self.hyperparameters)
