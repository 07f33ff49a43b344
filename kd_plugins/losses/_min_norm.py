"""Minimum-norm convex combination of a few vectors, with a cap on each weight."""

from __future__ import annotations

import torch
from torch import Tensor

from .._checks import check_positive
from ..transforms.precision import autocast_off

EXACT_UP_TO = 3
"""Number of vectors up to which every combination of active bounds is tried."""
STEPS = 64
"""Frank-Wolfe steps for more vectors."""
_RIDGE = 1e-6
_CAP_SLACK = 1e-3


def min_norm_weights(gram: Tensor, *, cap: float = 1.0) -> Tensor:
    r"""Weights of the shortest convex combination of M vectors, from their dot products.

    .. math::
        \min_w \tfrac12 \Bigl\lVert \sum_m w_m g_m \Bigr\rVert^2 = \tfrac12 w^\top G w, \qquad
        \sum_m w_m = 1, \quad 0 \le w_m \le C

    - :math:`g_m`: vector m, :math:`G_{mn} = g_m \cdot g_n`,
    - :math:`C`: cap; 1 / M forces equal weights, 1 allows a single vector.

    For up to three vectors the solution is exact: each weight is at 0, at C or free, and the best stationary point of
    these combinations within the bounds is taken. For more, there are 64 pairwise Frank-Wolfe steps with exact line
    search: each moves weight from the vector with the largest slope and a positive weight to the one with the smallest
    slope and a weight below C. Both run on the device of ``gram`` without synchronisation.

    A millionth of the vectors' mean squared length is added to the diagonal, so that identical vectors, or zeros, get
    equal weights.

    The matrix ``gram``, :math:`G`, is (M, M); the weights are (M,), of its type, without gradient. ``cap``, :math:`C`,
    is in [1 / M, 1], with a tolerance of 0.001 below 1 / M.

    References:
        Désidéri, Multiple-gradient descent algorithm (MGDA) for multiobjective optimization, 2012, for the problem.
        Du et al., Agree to Disagree: Adaptive Ensemble Knowledge Distillation in Gradient Space, NeurIPS 2020 (cap).

    Example:
        >>> vectors = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
        >>> min_norm_weights(vectors @ vectors.T).round(decimals=3)  # in inverse proportion to the squared lengths
        tensor([0.8000, 0.2000])
    """
    if gram.ndim != 2 or gram.shape[0] != gram.shape[1] or not len(gram):
        raise ValueError(f"gram must have shape (M, M), M >= 1, found {tuple(gram.shape)}")
    count = len(gram)
    check_cap(cap, count)
    cap = max(cap, 1 / count)
    with torch.no_grad(), autocast_off(gram):
        # A handful of numbers: double precision costs nothing, where there is one.
        wide = gram.to(torch.float32 if gram.device.type == "mps" else torch.float64)
        eye = torch.eye(count, dtype=wide.dtype, device=wide.device)
        scale = wide.diagonal().mean().clamp(min=torch.finfo(wide.dtype).tiny)
        wide = wide / scale + _RIDGE * eye
        weights = _by_active_sets(wide, eye, cap) if count <= EXACT_UP_TO else _by_steps(wide, eye, cap)
        weights = weights.clamp(0, cap)
        return (weights / weights.sum()).to(gram.dtype)


def row_weights(rows: Tensor, *, cap: float) -> Tensor:
    """Return :func:`min_norm_weights` of vectors given as rows (M, N), float32 or float64."""
    with torch.no_grad(), autocast_off(rows):
        return min_norm_weights(rows @ rows.T, cap=cap)


def check_cap(cap: object, teachers: int | None = None) -> None:
    """Raise ``ValueError`` unless ``cap`` is a number in (0, 1], and in [1 / M, 1] where the number M is known."""
    check_positive("cap", cap)
    if cap > 1:  # type: ignore[operator]
        raise ValueError(f"cap must be at most 1, the sum of all weights, found {cap!r}")
    if teachers is not None and cap < 1 / teachers - _CAP_SLACK:  # type: ignore[operator]
        raise ValueError(
            f"cap must be at least 1 / {teachers} = {1 / teachers:.4g}, or the weights of {teachers} teachers cannot "
            f"sum to 1, found {cap!r}"
        )


def _by_active_sets(gram: Tensor, eye: Tensor, cap: float) -> Tensor:
    """Return the best of the stationary points with every weight free, at 0 or at the cap: 3 ** M small systems."""
    count = len(gram)
    numbers = torch.arange(3**count, device=gram.device)
    state = numbers[:, None] // 3 ** torch.arange(count, device=gram.device) % 3
    free = (state == 0).to(gram.dtype)
    bound = cap * (state == 2).to(gram.dtype)
    # Rows: G w + lambda = 0 of a free weight, w = bound of another, and the sum of all. If none is free, lambda
    # absorbs the rest of the sum, so the system is solvable.
    system = gram.new_zeros(len(state), count + 1, count + 1)
    system[:, :count, :count] = free[:, :, None] * gram + (1 - free)[:, :, None] * eye
    system[:, :count, count] = free
    system[:, count, :count] = 1
    system[:, count, count] = (free.sum(1) == 0).to(gram.dtype)
    right = torch.cat([bound, bound.new_ones(len(bound), 1)], dim=1)
    points = torch.linalg.solve_ex(system, right)[0][:, :count]
    slack = _slack(gram)
    kept = (points >= -slack) & (points <= cap + slack) & ((points.sum(1, keepdim=True) - 1).abs() <= slack)
    lengths = torch.linalg.vecdot(points @ gram, points)
    best = torch.where(kept.all(1), lengths, torch.inf).argmin()
    return points.index_select(0, best.reshape(1))[0]


def _by_steps(gram: Tensor, eye: Tensor, cap: float) -> Tensor:
    """Return the weights after pairwise Frank-Wolfe steps from equal ones."""
    slack, weights = _slack(gram), gram.new_full((len(gram),), 1 / len(gram))
    for _ in range(STEPS):
        slope = gram @ weights
        loser = torch.where(weights > slack, slope, -torch.inf).argmax().reshape(1)
        winner = torch.where(weights < cap - slack, slope, torch.inf).argmin().reshape(1)
        direction = eye.index_select(0, winner)[0] - eye.index_select(0, loser)[0]
        descent = -torch.dot(slope, direction)
        curvature = torch.dot(gram @ direction, direction).clamp(min=_RIDGE)  # 0 only for a vector and itself
        room = torch.minimum(weights.index_select(0, loser), cap - weights.index_select(0, winner))
        step = torch.minimum((descent / curvature).clamp(min=0), room)
        weights = weights + step * direction
    return weights


def _slack(gram: Tensor) -> float:
    """Return the tolerance for rounding beyond the bounds."""
    return torch.finfo(gram.dtype).eps ** 0.6
