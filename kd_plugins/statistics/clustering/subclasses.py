"""Sub-classes: K-means within each class, prototypes of the clusters, and how often they are confused."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ...losses.letkd_subclasses import nearest_of_own_class
from ..streaming import FeatureStream
from .seeding import seed_centres, squared_distances

LLOYD_STEPS = 100
SLICE_ENTRIES = 1 << 20
"""Number of distances computed at a time, which fit into the processor's cache."""


def cluster_classes(points: Tensor, present: Tensor, *, subclasses: int, seed: int) -> tuple[Tensor, Tensor]:
    """Run a K-means in all classes at once until no point changes its cluster.

    Args:
        points: some positions of every class, shape (C, n, d').
        present: which of them exist, bool (C, n).
        subclasses: S.
        seed: seed of the initial centres.

    Returns:
        Centres (C, S, d') and which have a member, bool (C, S). A class with fewer distinct positions than sub-classes
        has fewer clusters.

    Example:
        >>> points = torch.tensor([[[0.0], [1.0], [9.0]], [[5.0], [0.0], [0.0]]])
        >>> present = torch.tensor([[True, True, True], [True, False, False]])
        >>> centres, alive = cluster_classes(points, present, subclasses=2, seed=0)
        >>> sorted(centres[0].flatten().tolist()), alive.tolist()
        ([0.5, 9.0], [[True, True], [True, False]])
    """
    generator = torch.Generator().manual_seed(seed)
    centres, alive = seed_centres(points, present, subclasses, generator=generator)
    before = None
    for _ in range(LLOYD_STEPS):
        distances = squared_distances(points, centres).masked_fill_(~alive[:, None], float("inf"))
        nearest = distances.argmin(2)
        if before is not None and torch.equal(nearest, before):
            break
        before = nearest
        members = (F.one_hot(nearest, subclasses) * present[..., None]).to(points.dtype)
        counts = members.sum(1)
        alive = counts > 0
        centres = members.transpose(1, 2) @ points / counts.clamp_min(1)[..., None]
    return centres, alive


def member_means(stream: FeatureStream, centres: Tensor, alive: Tensor, *, title: str) -> tuple[Tensor, Tensor]:
    r"""Return mean and number of the positions whose nearest centre of their class is each centre, from one pass.

    For centres of a K-means, this is one more step of it over all positions.

    Args:
        stream: features whose images have labels.
        centres: shape (C, S, d').
        alive: which sub-classes exist, bool (C, S).
        title: purpose of the pass, for the progress bar.

    Returns:
        Means (C, S, d'), zeros for a sub-class without a member, and counts (C, S), int64.
    """
    classes, subclasses, channels = centres.shape
    centres, alive = centres.to(stream.device), alive.to(stream.device)
    sums = centres.new_zeros(classes, subclasses * channels, dtype=torch.float64)
    counts = torch.zeros(classes, subclasses, dtype=torch.int64, device=centres.device)
    for block in stream.blocks(title):
        features, labels = block.features, block.need_labels()
        own = nearest_of_own_class(features, labels, centres, alive) - (labels * subclasses)[:, None]
        members = F.one_hot(own, subclasses)
        per_image = members.to(features.dtype).transpose(1, 2) @ features
        # A matrix product adds in a fixed order on every device, unlike index_add_.
        of_class = F.one_hot(labels, classes).T
        sums += of_class.double() @ per_image.flatten(1).double()
        counts += (of_class.double() @ members.sum(1).double()).long()
    means = sums.unflatten(1, (subclasses, channels)) / counts.clamp_min(1)[..., None]
    return means.to(centres.dtype), counts


def score_table(stream: FeatureStream, centres: Tensor, counts: Tensor, prototypes: Tensor) -> Tensor:
    r"""Return how often each of all prototypes is the nearest to the positions of each sub-class, from one pass.

    .. math:: S_{k,j} = \frac{1}{n_k} \sum_{x \in k} [\, j = \arg\min_{j'} \|x - \text{prot}_{j'}\|^2 \,]

    - :math:`x \in k`: positions whose nearest centre of their class is centre k,
    - :math:`n_k`: their number.

    Args:
        stream: features whose images have labels.
        centres: shape (C, S, d').
        counts: number of members of each sub-class, shape (C, S); sub-classes without members are left out.
        prototypes: means of the members, shape (C, S, d').

    Returns:
        Shape (C * S, C * S); rows sum to 1, or to 0 for sub-classes without members.

    References:
        letKD, Knowledge Distillation Layer that Lets the Student Decide, BMVC 2023, supplementary algorithm 2.

    Example:
        >>> from kd_plugins.statistics import ArrayFeatures
        >>> stream = ArrayFeatures(torch.tensor([[[0.0], [9.0]], [[1.0], [0.0]]]), torch.tensor([0, 1]))
        >>> centres = torch.tensor([[[0.0]], [[1.0]]])
        >>> score_table(stream, centres, torch.tensor([[2], [2]]), torch.tensor([[[4.5]], [[0.5]]]))
        tensor([[0.5000, 0.5000],
                [0.0000, 1.0000]])
    """
    centres, prototypes = centres.to(stream.device), prototypes.to(stream.device)
    alive = (counts > 0).to(stream.device)
    total = alive.numel()
    squares = prototypes.square().sum(2).masked_fill(~alive, float("inf")).flatten()
    columns = prototypes.flatten(0, 1).T
    histogram = torch.zeros(total * total, dtype=torch.int32, device=centres.device)
    rows = max(1, SLICE_ENTRIES // total)
    for block in stream.blocks("intermediate: score table"):
        own = nearest_of_own_class(block.features, block.need_labels(), centres, alive).flatten()
        nearest = torch.cat([
            torch.addmm(squares, part, columns, alpha=-2).argmin(1)
            for part in block.features.flatten(0, 1).split(rows)
        ])  # fmt: skip
        pairs = own * total + nearest
        histogram.index_add_(0, pairs, torch.ones_like(pairs, dtype=torch.int32))
    table = histogram.view(total, total)
    return table.to(centres.dtype) / table.sum(1, keepdim=True).clamp_min(1)
