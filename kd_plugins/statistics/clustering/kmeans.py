"""Mini-batch K-means over all positions of a teacher's last map, in one pass."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import Tensor

from ..._checks import check_at_least
from ..artefact import StatisticsError
from ..streaming import FeatureStream, shuffled_batches
from .seeding import seed_centres

BATCH = 16384
SEEDING_BATCHES = 3
"""Number of first batches whose positions are candidates for the initial centres."""
MOST_BUFFER_BATCHES = 16
COPIES = 4
"""Largest number of copies of a buffer in memory: collected, joined, mixed, and temporaries of the computation."""
REASSIGNMENT_RATIO = 0.01
PASSES_OF_SMALL = 10
"""Number of passes over a set that is in memory as a whole for the choice of the initial centres."""


class SklearnMiniBatch:
    """scikit-learn's ``MiniBatchKMeans`` of K centres, for the CPU; the rows of ``first`` (n, d) seed the centres."""

    def __init__(self, first: Tensor, count: int, *, seed: int) -> None:
        # Imported here because importing scikit-learn takes a second.
        from sklearn.cluster import MiniBatchKMeans

        # scikit-learn's own initialisation takes three times as long, longer than the rest of the fit.
        centres = _first_centres(first, count, torch.Generator().manual_seed(seed)).numpy()
        self.model = MiniBatchKMeans(
            count, init=centres, n_init=1, batch_size=max(BATCH, count), compute_labels=False, random_state=seed,
            reassignment_ratio=REASSIGNMENT_RATIO,
        )  # fmt: skip

    def update(self, batch: np.ndarray | Tensor) -> None:
        """Move the centres towards a batch (n, d)."""
        self.model.partial_fit(np.asarray(batch))

    def result(self) -> Tensor:
        """Return the centres (K, d)."""
        return torch.from_numpy(np.array(self.model.cluster_centers_, dtype=np.float32))


class TorchMiniBatch:
    """The same algorithm in torch, for a GPU: distances, assignment and sums are matrix products.

    Now and then, a centre with fewer positions than the share ``reassignment_ratio`` of the largest centre's is
    replaced by a random position; 0 turns this off.
    """

    def __init__(self, first: Tensor, count: int, *, seed: int, reassignment_ratio: float = REASSIGNMENT_RATIO) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.centres = _first_centres(first, count, self.generator)
        self.weights = torch.zeros(count, dtype=first.dtype, device=first.device)
        self.ratio = reassignment_ratio
        self.since = 0

    def update(self, batch: np.ndarray | Tensor) -> None:
        """Move the centres towards a batch (n, d): each becomes the mean of all positions assigned to it so far."""
        batch = torch.as_tensor(batch, device=self.centres.device)
        # The square of the position is left out, because it does not change which centre is nearest.
        nearest = torch.addmm(self.centres.square().sum(1), batch, self.centres.T, alpha=-2).argmin(1)
        members = (nearest[:, None] == torch.arange(len(self.centres), device=batch.device)).to(batch.dtype)
        counts = members.sum(0)
        sums = members.T @ batch
        total = self.weights + counts
        moved = (self.centres * self.weights[:, None] + sums) / total.clamp_min(1)[:, None]
        self.centres = torch.where(counts[:, None] > 0, moved, self.centres)
        self.weights = total
        self._reassign(batch)

    def result(self) -> Tensor:
        """Return the centres (K, d)."""
        return self.centres.float().cpu()

    def _reassign(self, batch: Tensor) -> None:
        self.since += len(batch)
        if not self.ratio or (self.since < 10 * len(self.centres) and bool((self.weights > 0).all())):
            return
        self.since = 0
        low = (self.weights < self.ratio * self.weights.max()).nonzero().flatten()
        if len(low) > len(batch) // 2:
            low = low[self.weights[low].argsort(stable=True)[: len(batch) // 2]]
        if not len(low) or len(low) == len(self.weights):
            return
        chosen = torch.randperm(len(batch), generator=self.generator)[: len(low)].to(batch.device)
        self.centres[low] = batch[chosen]
        kept = torch.ones_like(self.weights, dtype=torch.bool)
        kept[low] = False
        self.weights[low] = self.weights[kept].min()


def fit_centres(stream: FeatureStream, *, count: int = 4096, seed: int = 0, budget: int = 2 << 30) -> Tensor:
    r"""Return the centres of a K-means over all positions, from one pass.

    .. math:: \min_{\rho_1 \dots \rho_K} \sum_x \min_k \|x - \rho_k\|^2

    The minimum is approximated by mini-batches: a centre is the mean of the positions to which it was the nearest in
    their batch. The initial centres are chosen by k-means++ among the positions of the first batches, which come from
    random images. If these batches hold the whole set, ten passes are made.

    Args:
        stream: the features.
        count: K.
        seed: seed of all random numbers; the result is reproducible bit for bit on one machine.
        budget: bytes of memory for positions.

    Returns:
        Shape (K, d), float32.

    Raises:
        StatisticsError: when there are fewer positions than centres, or the budget holds too few.

    References:
        Sculley, Web-scale k-means clustering, WWW 2010, algorithm 1; letKD, BMVC 2023, supplementary algorithm 1.

    Example:
        >>> from kd_plugins.statistics import ArrayFeatures
        >>> maps = torch.tensor([[[0.0], [10.0]], [[0.0], [10.0]]])  # 2 images, 2 positions, 1 channel
        >>> sorted(fit_centres(ArrayFeatures(maps), count=2).flatten().tolist())
        [0.0, 10.0]
    """
    check_at_least("num_centres", count, 1)
    shape = stream.shape
    if count > shape.rows:
        raise StatisticsError(
            f"num_centres must be at most the number of positions, {shape.rows} ({shape.images} images of "
            f"{shape.height} x {shape.width}), found {count}; lower num_centres"
        )
    batch_size = max(BATCH, count)
    seeding = min(shape.rows, SEEDING_BATCHES * batch_size)
    rows = min(MOST_BUFFER_BATCHES * batch_size, budget // (COPIES * 4 * shape.channels))
    if rows < seeding:
        needed = COPIES * 4 * shape.channels * seeding
        raise StatisticsError(
            f"a K-means of {count} centres over {shape.channels} channels needs a memory budget of at least "
            f"{needed / 2**20:.0f} MiB, found {budget / 2**20:.0f} MiB; raise --memory-budget"
        )
    title = "penultimate: K-means"
    batches = shuffled_batches(stream, batch_size=batch_size, buffer_rows=rows, seed=seed, title=title)
    first: list[Tensor] = []
    while sum(map(len, first)) < seeding:
        first.append(next(batches))
    kind = SklearnMiniBatch if first[0].device.type == "cpu" else TorchMiniBatch
    model = kind(torch.cat(first), count, seed=seed)
    repeats = PASSES_OF_SMALL if seeding == shape.rows else 1
    for batch in itertools.chain(first * repeats, batches):
        model.update(batch)
    return model.result()


def _first_centres(positions: Tensor, count: int, generator: torch.Generator) -> Tensor:
    present = torch.ones(1, len(positions), dtype=torch.bool, device=positions.device)
    return seed_centres(positions[None], present, count, generator=generator)[0][0]
