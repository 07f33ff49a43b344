"""Greedy k-means++ initialisation for many groups of points at once."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def seed_centres(points: Tensor, present: Tensor, count: int, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    r"""Choose centres among the points of each group, far from each other.

    .. math:: P(x) \propto \min_{c \text{ chosen}} \|x - c\|^2

    The first centre is drawn uniformly. For each further centre, some candidates are drawn with these probabilities,
    and the one with the smallest resulting sum of distances is taken. A group gets no further centre if all of its
    points equal chosen ones.

    ``points`` (G, n, d) exist where ``present`` (G, n) is true. The generator is on the CPU, so that draws are the same
    for every device. Returned are ``count``, K, centres per group (G, K, d), zeros where there is none, and which of
    them exist, bool (G, K).

    References:
        Arthur and Vassilvitskii, k-means++: The Advantages of Careful Seeding, SODA 2007, section 2.2, conclusion.

    Example:
        >>> points = torch.tensor([[[0.0], [0.0], [9.0]]])
        >>> present = torch.ones(1, 3, dtype=torch.bool)
        >>> centres, alive = seed_centres(points, present, 3, generator=torch.Generator().manual_seed(0))
        >>> sorted(centres[0, :2, 0].tolist()), alive.tolist()
        ([0.0, 9.0], [[True, True, False]])
    """
    groups, _, channels = points.shape
    centres = points.new_zeros(groups, count, channels)
    alive = torch.zeros(groups, count, dtype=torch.bool, device=points.device)
    row = torch.arange(groups, device=points.device)
    trials = 2 + int(math.log(count))
    squares, columns = points.square().sum(2)[:, None], points.transpose(1, 2)
    weights = present.to(points.dtype)  # uniform for the first centre
    closest = torch.where(present, float("inf"), 0.0).to(points.dtype)
    for k in range(count):
        drawn = _draw(weights, trials if k else 1, generator)
        candidates = points.gather(1, drawn[..., None].expand(-1, -1, channels))
        distances = torch.baddbmm(squares, candidates, columns, alpha=-2)
        distances += candidates.square().sum(2)[..., None]
        # Points that do not exist have distance 0 from the beginning, so they are never drawn.
        distances = torch.minimum(distances.clamp_min_(0), closest[:, None])
        best = distances.sum(2).argmin(1)
        alive[:, k] = weights.amax(1) > 0
        centres[:, k] = candidates[row, best] * alive[:, k, None]
        # A chosen point has distance 0 to itself; rounding may have left more.
        closest = distances[row, best].scatter_(1, drawn[row, best][:, None], 0)
        weights = closest
    return centres, alive


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Return the squared distances (G, m, n) of points (G, m, d) and (G, n, d), at least 0."""
    cross = torch.baddbmm(b.square().sum(2)[:, None], a, b.transpose(1, 2), alpha=-2)
    return (cross + a.square().sum(2)[..., None]).clamp_min_(0)


def _draw(weights: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return indices (G, count) drawn with these weights (G, n)."""
    # Cumulative sums are reproducible on the CPU, but not on a GPU.
    sums = weights.cpu().double().cumsum(1)
    wanted = torch.rand(len(sums), count, generator=generator, dtype=torch.float64) * sums[:, -1:]
    drawn = torch.searchsorted(sums, wanted, right=True).clamp_max_(sums.shape[1] - 1)
    return drawn.to(weights.device)
