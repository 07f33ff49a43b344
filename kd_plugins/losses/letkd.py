"""letKD: loss between the scores of a KD layer and a teacher's features."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .._checks import check_positive
from ..transforms.map_rows import map_rows, rows_map
from ..transforms.precision import autocast_off
from ._inputs import check_features
from ._positions import pooled_to, teacher_features, wide_scores
from ._score_kl import Centres, score_kl
from .letkd_subclasses import PARTS, negentropy, subclass_table_loss


def soft_assignment(features: Tensor, centres: Tensor, *, sharpness: float = 1.0) -> Tensor:
    r"""Assign every position of a teacher's map softly to the centres of a K-means.

    .. math:: p_{nk} = \mathrm{softmax}_k\bigl(-t \, \lVert x_n - \rho_k \rVert_2^2\bigr)

    - :math:`x_n, \rho_k, t`: the teacher's feature at a position, centre k, and sharpness of the assignment.

    The paper's algorithm prints the softmax without the minus; here, as in the authors' code, the nearest centre gets
    the largest probability.

    Args:
        features: shape (B, d, H, W), or rows (N, d).
        centres: shape (K, d).
        sharpness: :math:`t > 0`.

    Returns:
        Probabilities over dimension 1, shape (B, K, H, W) or (N, K), float32 at least, without gradient; in memory the
        K entries of a position are contiguous.

    Raises:
        ValueError: on shapes that do not fit, or a sharpness out of range.

    References:
        letKD, Knowledge Distillation Layer that Lets the Student Decide, BMVC 2023, supplementary Algorithm 1.

    Example:
        >>> centres = torch.tensor([[0.0], [1.0], [9.0]])
        >>> soft_assignment(torch.tensor([[0.0], [9.0]]), centres).round(decimals=2)
        tensor([[0.7300, 0.2700, 0.0000],
                [0.0000, 0.0000, 1.0000]])
    """
    check_positive("sharpness", sharpness)
    rows = map_rows(teacher_features(features, centres.shape[1]))
    with autocast_off(rows), torch.no_grad():
        a, b, c = Centres.of(centres.to(rows), sharpness).parts(rows)
        return rows_map(torch.softmax(torch.addmm(c, a, b.T), dim=1), features.shape)


def kd_layer_loss(scores: Tensor, targets: Tensor) -> Tensor:
    r"""Divergence of a KD layer's scores from soft targets at every position.

    .. math:: L = \frac{1}{BHW} \sum_n \mathrm{KL}\bigl(p_n \,\|\, \mathrm{softmax}_K(s_n)\bigr)

    - :math:`s_n, p_n`: the layer's scores at a position, before its batch norm, and the target probabilities there.

    For targets from statistics, :func:`soft_assignment_loss` and :func:`subclass_loss` return the same value without
    having all targets in memory.

    Args:
        scores: shape (B, K, H, W), or rows (N, K).
        targets: probabilities over dimension 1 (not their logarithms), of the same shape; receive no gradient.

    Returns:
        Scalar, float32 at least. It can be differentiated once.

    Raises:
        ValueError: on shapes that do not fit.

    References:
        letKD, Knowledge Distillation Layer that Lets the Student Decide, BMVC 2023, supplementary Algorithms 1 and 2.

    Example:
        >>> kd_layer_loss(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]))  # log 2
        tensor(0.6931)
    """
    s = wide_scores(scores)
    check_features("targets", targets, ndim=None)
    if targets.shape != scores.shape:
        raise ValueError(
            f"targets must have the shape of the scores {tuple(scores.shape)}, found {tuple(targets.shape)}"
        )
    return score_kl(s, "targets", map_rows(targets.detach()).to(s))


def soft_assignment_loss(scores: Tensor, features: Tensor, centres: Tensor, *, sharpness: float = 1.0) -> Tensor:
    """:func:`kd_layer_loss` with the targets of :func:`soft_assignment`, which are never all in memory.

    Args:
        scores: shape (B, K, H, W), or rows (N, K).
        features: the teacher's, shape (B, d, H', W') or rows (N, d); a larger map is average-pooled to that of the
            scores first; receives no gradient.
        centres: shape (K, d).
        sharpness: above 0.

    Returns:
        Scalar, float32 at least. It can be differentiated once.

    Raises:
        ValueError: on shapes that do not fit, or a sharpness out of range.

    Example:
        >>> import torch
        >>> scores, features, centres = torch.zeros(1, 2), torch.zeros(1, 1), torch.tensor([[0.0], [9.0]])
        >>> soft_assignment_loss(scores, features, centres)  # all on the first of two: log 2
        tensor(0.6931)
    """
    check_positive("sharpness", sharpness)
    own = centres.detach()
    return _assignment_loss(scores, features, Centres.of(own if own.dtype == torch.float64 else own.float(), sharpness))


def _assignment_loss(scores: Tensor, features: Tensor, centres: Centres) -> Tensor:
    s = wide_scores(scores, len(centres.around), "centres")
    target = teacher_features(pooled_to(features, scores), len(centres.middle)).to(s.dtype)
    return score_kl(s, "centres", *(part.to(s.dtype) for part in centres.parts(target)))


class LetKDLoss(nn.Module):
    """Module form of :func:`soft_assignment_loss`, or of :func:`subclass_loss` for statistics without ``centres``.

    The statistics are buffers that are not saved.

    Example:
        >>> from kd_plugins.statistics import PenultimateStatistics
        >>> loss = LetKDLoss(PenultimateStatistics(torch.tensor([[0.0], [9.0]])))
        >>> loss(torch.zeros(1, 2), torch.zeros(1, 1))
        tensor(0.6931)
    """

    centres: Tensor
    projection: Tensor
    projection_bias: Tensor
    subclass_centres: Tensor
    subclass_counts: Tensor
    score_table: Tensor
    negentropy: Tensor
    middle: Tensor
    around: Tensor
    offsets: Tensor

    def __init__(self, statistics: Any, *, sharpness: float = 1.0, subclasses: int = 8) -> None:
        super().__init__()
        check_positive("sharpness", sharpness)
        self.sharpness, self.subclasses = sharpness, subclasses
        self.takes_labels = not hasattr(statistics, "centres")
        for name in PARTS if self.takes_labels else ("centres",):
            self.register_buffer(name, getattr(statistics, name).detach(), persistent=False)
        # Constants of all steps.
        if self.takes_labels:
            made = {"negentropy": negentropy(self.score_table)}
        else:
            made = vars(Centres.of(self.centres, sharpness))
        for name, tensor in made.items():
            self.register_buffer(name, tensor, persistent=False)

    def forward(self, scores: Tensor, teacher: Tensor, targets: Tensor | None = None) -> Tensor:
        """Return the loss of scores (B, K, H, W) against features (B, d, H', W') of images with labels (B,)."""
        own = self.score_table if self.takes_labels else self.centres
        if isinstance(scores, Tensor) and own.device != scores.device:
            self.to(scores.device)
        if not self.takes_labels:
            return _assignment_loss(scores, teacher, Centres(self.middle, self.around, self.offsets))
        return subclass_table_loss(scores, teacher, targets, self, self.negentropy, self.subclasses)

    def extra_repr(self) -> str:
        """Return what the scores are compared with."""
        if self.takes_labels:
            return f"intermediate, {len(self.score_table)} sub-classes, {self.subclasses} of a class"
        return f"penultimate, {len(self.centres)} centres, sharpness={self.sharpness}"
