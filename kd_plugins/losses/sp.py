"""SP: distillation of the similarity matrix of a batch."""

from __future__ import annotations

from torch import Tensor, nn

from ..transforms.precision import full_matmul
from ._cosine import unit_rows
from ._inputs import LENGTH_FLOOR, feature_pair


def similarity_loss(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Difference of the similarities between the samples of a batch (SP).

    .. math::
        L = \frac{1}{B^2} \lVert \tilde G^s - \tilde G^t \rVert_F^2, \qquad
        G = F F^\top, \quad \tilde G_i = \frac{G_i}{\lVert G_i \rVert_2}

    - :math:`F`: features of the batch, one row per sample, of B, with all its channels and positions,
    - :math:`G_i`: row i of the Gram matrix (B, B) of student (s) or teacher (t).

    torchdistill's ``SPKDLoss`` divides the rows by their sum of absolute values; here they have length 1, as in the
    paper. Student and teacher may have features of any size. The gradient of Gram rows shorter than 1e-4 is bounded.

    Args:
        student: features, shape (B, ...).
        teacher: features, shape (B, ...); receives no gradient.

    Returns:
        Scalar, float32 at least; 0 for a batch of one. It can be differentiated once.

    Raises:
        ValueError: on shapes that do not fit.

    References:
        Tung, Mori, Similarity-Preserving Knowledge Distillation, ICCV 2019, Eq. (1) to (4).

    Example:
        >>> import torch
        >>> student, teacher = torch.tensor([[1.0], [1.0]]), torch.eye(2)
        >>> similarity_loss(student, teacher)  # entries 0.7071 against 1 and 0: (2 * 0.2929^2 + 2 * 0.5) / 4
        tensor(0.2929)
    """
    f_s, f_t = feature_pair(student, teacher, ndim=None)
    g_s, g_t = (unit_rows(full_matmul(x.flatten(1)), floor=LENGTH_FLOOR) for x in (f_s, f_t))
    return (g_s - g_t).square().mean()


class SimilarityLoss(nn.Module):
    """Module form of :func:`similarity_loss`."""

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the loss of features (B, ...) against features (B, ...)."""
        return similarity_loss(student, teacher)
