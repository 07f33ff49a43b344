"""PKT: distillation of conditional probabilities between the samples of a batch."""

from __future__ import annotations

from torch import Tensor

from .._checks import check_positive
from ..transforms.precision import autocast_off
from ._cosine import row_cosines
from ._inputs import LENGTH_FLOOR, feature_pair
from ._module import LossModule


def probabilistic_loss(student: Tensor, teacher: Tensor, *, eps: float = 1e-7) -> Tensor:
    r"""Divergence of the similarities between samples, taken as probabilities (PKT).

    .. math::
        L = \frac{1}{B^2} \sum_{i,j} p^t_{ij} \ln \frac{p^t_{ij} + \varepsilon}{p^s_{ij} + \varepsilon}, \qquad
        p_{ij} = \frac{1 + \cos(f_i, f_j)}{\sum_k 1 + \cos(f_i, f_k)}

    - :math:`f_i`: features of sample i, of B, as a vector,
    - :math:`p_{ij}`: probability of sample j given sample i, of student (s) or teacher (t),
    - :math:`\varepsilon`: keeps the logarithm finite.

    The paper sums over the pairs; public code, followed here and by torchdistill's ``PKTLoss``, takes the mean, to
    which the published weight (30000) belongs. Value and gradient equal those of that loss, except that its gradient is
    NaN if all features of a sample are zero; here the gradient of vectors shorter than 1e-4 is bounded.

    Args:
        student: features, shape (B, ...).
        teacher: features, shape (B, ...); receives no gradient.
        eps: :math:`\varepsilon > 0`.

    Returns:
        Scalar, float32 at least. It can be differentiated once.

    Raises:
        ValueError: on shapes that do not fit, or an ``eps`` out of range.

    References:
        Passalis, Tefas, Learning Deep Representations with Probabilistic Knowledge Transfer, ECCV 2018, Eq. (5) to (9).

    Example:
        >>> import torch
        >>> student, teacher = torch.ones(2, 1), torch.eye(2)
        >>> probabilistic_loss(student, teacher)  # (2/3 ln 4/3 + 1/3 ln 2/3) / 2
        tensor(0.0283)
    """
    f_s, f_t = feature_pair(student, teacher, ndim=None)
    check_positive("eps", eps)
    with autocast_off(f_s):
        p_s, p_t = (_probabilities(x.flatten(1)) for x in (f_s, f_t))
        return (p_t * ((p_t + eps).log() - (p_s + eps).log())).mean()


def _probabilities(x: Tensor) -> Tensor:
    likeness = 1 + row_cosines(x, floor=LENGTH_FLOOR)
    return likeness / likeness.sum(1, keepdim=True)


class ProbabilisticLoss(LossModule):
    """Module form of :func:`probabilistic_loss`."""

    def __init__(self, *, eps: float = 1e-7) -> None:
        super().__init__(eps=eps)
        check_positive("eps", eps)

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the loss of features (B, ...) against features (B, ...)."""
        return probabilistic_loss(student, teacher, **self.hyperparameters)
