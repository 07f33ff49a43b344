"""Mini-batch K-means over all positions of a teacher's last map, in one streamed pass."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ..._checks import check_at_least
from ..artefact import StatisticsError
from ..streaming import FeatureStream, shuffled_batches
from .seeding import seed_centres

BATCH = 16384
SEEDING_BATCHES = 3
"""Batches whose positions the first centres are chosen from."""
MOST_BUFFER_BATCHES = 16
COPIES = 4
"""How often a buffer stands in memory at the worst moment: collected, joined, mixed, and what computes on it."""
REASSIGNMENT_RATIO = 0.01
PASSES_OF_SMALL = 10
"""A set that is held whole while the first centres are chosen is gone through this often: it costs nothing."""


class MiniBatch(Protocol):
    """A K-means that learns batch after batch."""

    def update(self, batch: np.ndarray | Tensor) -> None:
        """Move the centres towards a batch (n, d)."""
        ...

    def result(self) -> Tensor:
        """Return the centres (K, d), float32 on the CPU."""
        ...


class SklearnMiniBatch:
    """scikit-learn's ``MiniBatchKMeans``, for the CPU.

    Args:
        first: positions (n, d) that the first centres are chosen from.
        count: K.
        seed: of the choice, and of the reassignment of centres that attract next to nothing.
    """

    def __init__(self, first: Tensor, count: int, *, seed: int) -> None:
        # Imported here because scikit-learn takes a second that other users should not wait for.
        from sklearn.cluster import MiniBatchKMeans

        # Its own choice of first centres takes three times as long, more than all that follows.
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
    """The same rule in torch, for a GPU: distances, assignment and sums are matrix products.

    Args:
        first: positions (n, d) that the first centres are chosen from.
        count: K.
        seed: of the choice, and of the reassignment of centres that attract next to nothing.
        reassignment_ratio: a centre with fewer positions than this share of the most popular one's is replaced by a
            random position now and then; 0 never does it.
    """

    def __init__(self, first: Tensor, count: int, *, seed: int, reassignment_ratio: float = REASSIGNMENT_RATIO) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.centres = _first_centres(first, count, self.generator)
        self.weights = torch.zeros(count, dtype=first.dtype, device=first.device)
        self.ratio = reassignment_ratio
        self.since = 0

    def update(self, batch: np.ndarray | Tensor) -> None:
        """Move the centres towards a batch (n, d): each becomes the mean of all that it has attracted."""
        batch = torch.as_tensor(batch, device=self.centres.device)
        # Seen once a batch here; a position is the nearest centre's whether or not its own square is added.
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

    by mini-batches: a centre is the mean of the positions that were nearest to it when their batch came. The first
    centres are chosen by k-means++ among the positions of the first batches, which come from random images. A set that
    is no larger than these batches is gone through ten times.

    Args:
        stream: the features.
        count: K.
        seed: of everything random; the result is the same, bit for bit, when all is repeated on one machine.
        budget: bytes of memory for positions that are held.

    Returns:
        Shape (K, d), float32.

    Raises:
        StatisticsError: when there are fewer positions than centres, or the budget holds too few.

    References:
        Sculley, Web-scale k-means clustering, WWW 2010, algorithm 1. Gorgun et al., Knowledge distillation layer that
        lets the student decide, BMVC 2023, supplementary algorithm 1.

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
    first = _take(batches, seeding)
    sample = torch.cat(first)
    kind = SklearnMiniBatch if sample.device.type == "cpu" else TorchMiniBatch
    model: MiniBatch = kind(sample, count, seed=seed)
    del sample
    repeats = PASSES_OF_SMALL if seeding == shape.rows else 1
    for batch in itertools.chain(first * repeats, batches):
        model.update(batch)
    return model.result()


def _take(batches: Iterator[Tensor], rows: int) -> list[Tensor]:
    taken: list[Tensor] = []
    while sum(map(len, taken)) < rows:
        taken.append(next(batches))
    return taken


def _first_centres(positions: Tensor, count: int, generator: torch.Generator) -> Tensor:
    present = torch.ones(1, len(positions), dtype=torch.bool, device=positions.device)
    return seed_centres(positions[None], present, count, generator=generator)[0][0]
