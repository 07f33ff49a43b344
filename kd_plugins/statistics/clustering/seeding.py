"""Greedy k-means++ initialisation for many groups of points at once."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def seed_centres(points: Tensor, present: Tensor, count: int, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    r"""Choose centres among the points of each group, far from each other.

    .. math:: P(x) \propto \min_{c \text{ chosen}} \|x - c\|^2

    The first centre is drawn uniformly. For each further one some candidates are drawn with these probabilities,
    and the one that leaves the smallest sum of distances is taken. A group whose points are all chosen, or equal to a
    chosen one, gets no further centre.

    Args:
        points: shape (G, n, d).
        present: which points exist, bool, shape (G, n).
        count: K, centres of each group.
        generator: on the CPU; draws are the same on every device.

    Returns:
        Centres (G, K, d), zeros where there is none, and which exist, bool (G, K).

    References:
        Arthur and Vassilvitskii, k-means++: The Advantages of Careful Seeding, SODA 2007, section 2.2 and, for the
        candidates, its conclusion.

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
    weights = present.to(points.dtype)  # of the first centre: every point alike
    closest = torch.where(present, float("inf"), 0.0).to(points.dtype)
    for k in range(count):
        drawn = _draw(weights, trials if k else 1, generator)
        candidates = points.gather(1, drawn[..., None].expand(-1, -1, channels))
        distances = torch.baddbmm(squares, candidates, columns, alpha=-2)
        distances += candidates.square().sum(2)[..., None]
        # What does not exist is at distance 0 from the beginning, and never drawn.
        distances = torch.minimum(distances.clamp_min_(0), closest[:, None])
        best = distances.sum(2).argmin(1)
        alive[:, k] = weights.amax(1) > 0
        centres[:, k] = candidates[row, best] * alive[:, k, None]
        # A chosen point is at distance 0 of itself, whatever rounding says.
        closest = distances[row, best].scatter_(1, drawn[row, best][:, None], 0)
        weights = closest
    return centres, alive


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Return the squared distances (G, m, n) of points (G, m, d) and (G, n, d), at least 0.

    Example:
        >>> squared_distances(torch.tensor([[[1.0]]]), torch.tensor([[[3.0], [1.0]]]))
        tensor([[[4., 0.]]])
    """
    cross = torch.baddbmm(b.square().sum(2)[:, None], a, b.transpose(1, 2), alpha=-2)
    return (cross + a.square().sum(2)[..., None]).clamp_min_(0)


def _draw(weights: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return indices (G, count) drawn with these weights (G, n)."""
    # Running sums on the CPU are the same every time; a GPU adds in an order of its own.
    sums = weights.cpu().double().cumsum(1)
    wanted = torch.rand(len(sums), count, generator=generator, dtype=torch.float64) * sums[:, -1:]
    drawn = torch.searchsorted(sums, wanted, right=True).clamp_max_(sums.shape[1] - 1)
    return drawn.to(weights.device)
