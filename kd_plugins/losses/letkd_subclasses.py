"""letKD at the intermediate layer: soft targets over the sub-classes of a teacher's features."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from .._checks import check_class_indices
from ..transforms.map_rows import map_rows, rows_map
from ..transforms.precision import autocast_off
from ._inputs import check_features
from ._positions import pooled_to, teacher_features, wide_scores
from ._score_kl import score_kl


class SubclassStatistics(Protocol):
    """Intermediate part of a statistics file, see :class:`~kd_plugins.statistics.IntermediateStatistics`."""

    @property
    def projection(self) -> Tensor: ...  # noqa: D102
    @property
    def projection_bias(self) -> Tensor: ...  # noqa: D102
    @property
    def subclass_centres(self) -> Tensor: ...  # noqa: D102
    @property
    def subclass_counts(self) -> Tensor: ...  # noqa: D102
    @property
    def score_table(self) -> Tensor: ...  # noqa: D102


PARTS = ("projection", "projection_bias", "subclass_centres", "subclass_counts", "score_table")


def subclass_targets(
    features: Tensor, labels: Tensor, statistics: SubclassStatistics, *, subclasses: int = 8
) -> Tensor:
    r"""Look up the score table's row of the teacher's sub-class at every position.

    .. math:: p_n = T_{k^*_n}, \qquad
        k^*_n = y S + \arg\min_{s} \bigl\lVert (W x_n + b) - \rho_{y, s} \bigr\rVert_2

    - :math:`x_n`: the teacher's feature at a position of an image of class y,
    - :math:`W, b`: the projection on linear discriminants,
    - :math:`\rho_{y, s}`: centre of sub-class s, of S, of the image's own class,
    - :math:`T`: the score table.

    Args:
        features: the teacher's, shape (B, d, H, W).
        labels: class indices, shape (B,).
        statistics: of that layer of the teacher, see :class:`SubclassStatistics`.
        subclasses: S, of each class.

    Returns:
        Probabilities, shape (B, C * S, H, W), float32 at least, without gradient; in memory the entries of a position
        are contiguous.

    Raises:
        ValueError: on shapes that do not fit, or labels outside the statistics' classes.

    References:
        letKD, Knowledge Distillation Layer that Lets the Student Decide, BMVC 2023, supplementary Algorithm 2.

    Example:
        >>> from kd_plugins.statistics import IntermediateStatistics
        >>> centres = torch.tensor([[0.0], [2.0]])
        >>> known = IntermediateStatistics(
        ...     torch.eye(1), torch.zeros(1), centres, torch.ones(2), centres, torch.tensor([[0.9, 0.1], [0.2, 0.8]])
        ... )
        >>> features = torch.tensor([0.3, 1.8]).view(1, 1, 1, 2)
        >>> subclass_targets(features, torch.tensor([0]), known, subclasses=2).squeeze()
        tensor([[0.9000, 0.2000],
                [0.1000, 0.8000]])
    """
    index = _subclasses("subclass_targets", features, labels, statistics, subclasses)
    return rows_map(statistics.score_table.to(features.device)[index], features.shape)


def subclass_loss(
    scores: Tensor, features: Tensor, labels: Tensor, statistics: SubclassStatistics, *, subclasses: int = 8
) -> Tensor:
    """:func:`kd_layer_loss` with the targets of :func:`subclass_targets`, which are never all in memory.

    Args:
        scores: shape (B, C * S, H, W).
        features: the teacher's, shape (B, d, H', W'); a larger map is average-pooled to that of the scores first;
            receives no gradient.
        labels: class indices, shape (B,).
        statistics: see :class:`SubclassStatistics`.
        subclasses: S, of each class.

    Returns:
        Scalar, float32 at least. It can be differentiated once.

    Raises:
        ValueError: on shapes that do not fit, or labels outside the statistics' classes.

    Example:
        >>> import torch
        >>> from kd_plugins.statistics import IntermediateStatistics
        >>> one = IntermediateStatistics(
        ...     torch.eye(1), torch.zeros(1), torch.zeros(1, 1), torch.ones(1), torch.zeros(1, 1), torch.ones(1, 1)
        ... )
        >>> subclass_loss(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 4, 4), torch.tensor([0]), one, subclasses=1)
        tensor(0.)
    """
    table = statistics.score_table.detach()
    return subclass_table_loss(scores, features, labels, statistics, negentropy(table), subclasses)


def negentropy(table: Tensor) -> Tensor:
    """Return the sum of p log p of every row of probabilities."""
    return torch.special.xlogy(table, table).sum(1)


def subclass_table_loss(
    scores: Tensor,
    features: Tensor,
    labels: Tensor | None,
    statistics: SubclassStatistics,
    of_rows: Tensor,
    subclasses: int,
) -> Tensor:
    """Return :func:`subclass_loss`, given the sums of p log p of the table's rows."""
    s = wide_scores(scores, len(statistics.score_table), "sub-classes")
    table = statistics.score_table.detach().to(s)
    index = _subclasses("LetKDLoss", pooled_to(features, scores), labels, statistics, subclasses)
    return score_kl(s, "table", index, table, of_rows.to(s))


def _subclasses(
    loss: str, features: Tensor, labels: Tensor | None, statistics: SubclassStatistics, subclasses: int
) -> Tensor:
    """Return the row in the score table of every position, shape (B * H * W,)."""
    check_features("features", features)
    rows = map_rows(teacher_features(features, statistics.projection.shape[1]))
    total = len(statistics.subclass_centres)
    if subclasses < 1 or total % subclasses:
        raise ValueError(f"subclasses must divide the {total} sub-classes of the statistics, found {subclasses}")
    own = check_class_indices(loss, labels, batch=len(features), classes=total // subclasses).to(rows.device)
    with autocast_off(rows), torch.no_grad():
        positions = torch.addmm(statistics.projection_bias.to(rows), rows, statistics.projection.to(rows).T)
        positions = positions.view(len(features), -1, positions.shape[1])
        centres = statistics.subclass_centres.to(rows).view(-1, subclasses, positions.shape[2])
        alive = statistics.subclass_counts.to(rows.device).view(-1, subclasses) != 0
        return nearest_of_own_class(positions, own, centres, alive).flatten()


def nearest_of_own_class(features: Tensor, labels: Tensor, centres: Tensor, alive: Tensor) -> Tensor:
    r"""Return, for every position, the nearest sub-class of its image's class.

    .. math:: k^*_{b,p} = y_b S + \arg\min_{s} \|x_{b,p} - \rho_{y_b, s}\|^2

    Args:
        features: shape (B, P, d').
        labels: class of each image, shape (B,).
        centres: shape (C, S, d').
        alive: which sub-classes exist, bool (C, S); others are never the nearest.

    Returns:
        Row in a table of all C * S sub-classes, shape (B, P).

    Example:
        >>> centres = torch.tensor([[[0.0], [9.0]], [[0.0], [1.0]]])
        >>> alive = torch.ones(2, 2, dtype=torch.bool)
        >>> nearest_of_own_class(torch.tensor([[[1.0], [8.0]]]), torch.tensor([0]), centres, alive)
        tensor([[0, 1]])
    """
    subclasses = centres.shape[1]
    squares = centres.square().sum(2).masked_fill(~alive, float("inf"))
    own = squares[labels][:, None]
    distances = torch.baddbmm(own, features, centres[labels].transpose(1, 2), alpha=-2)
    return distances.argmin(2) + (labels * subclasses)[:, None]
