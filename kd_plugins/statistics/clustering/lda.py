"""Linear discriminant analysis from running sums, with the results of scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..artefact import StatisticsError
from ..streaming import Block

TOLERANCE = 1e-4
"""Singular values below it count as zero, as in scikit-learn."""
DEAD = 1e-13
"""Share of a channel's second moment below which its within-class variance is a rounding error."""


class ClassMoments:
    """Sums over positions that give means and scatter of the classes, in float64.

    Args:
        classes: C.
    """

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.counts = self.sums = self.squares = self.origin = torch.zeros(0)

    def add(self, block: Block) -> None:
        """Add the positions of some images, each with its image's class; without labels it is an error."""
        features, labels = block.features.double(), block.need_labels()
        if not len(self.origin):
            channels = features.shape[2]
            self.origin = features[0, 0].clone()
            self.counts = features.new_zeros(self.classes)
            self.sums = features.new_zeros(self.classes, channels)
            self.squares = features.new_zeros(channels, channels)
        # Sums of values far from zero would lose digits; a constant channel becomes exactly zero.
        features = features - self.origin
        members = F.one_hot(labels, self.classes).to(features)
        self.counts += members.sum(0) * features.shape[1]
        self.sums += members.T @ features.sum(1)
        rows = features.flatten(0, 1)
        self.squares += rows.T @ rows


@dataclass(frozen=True)
class Projection:
    """An affine map as a 1x1 convolution with weight (d', d) and bias (d',)."""

    weight: Tensor
    bias: Tensor


def discriminants(moments: ClassMoments, *, components: int | None = None, pca: int | None = None) -> Projection:
    r"""Return the directions in which classes differ most, relative to the variance within them.

    .. math:: W^\top S_w W = I, \qquad W^\top S_b W \text{ diagonal, largest first}, \qquad
              y = W^\top (x - \bar x)

    - :math:`S_w`: mean over all positions of the squared deviation from the class mean (the divisor is N, as in
      scikit-learn's ``svd`` solver; its older versions divide by N - C, which changes only the scale),
    - :math:`S_b`: weighted deviation of the class means from the mean :math:`\bar x` of all positions.

    Steps, tolerances and scaling are those of scikit-learn's ``svd`` solver, with eigenvectors of the scatter instead
    of singular vectors of the data; columns agree up to sign. Directions without variance (such as dead channels) and
    classes without a position are left out. ``pca`` first reduces the data to principal components, which follow
    exactly from the same sums.

    Args:
        moments: moments of all positions of at least 2 classes.
        components: d'; min(60, C - 1) by default. Fewer are returned if the data have fewer.
        pca: number of principal components to keep first; None keeps all channels.

    Returns:
        The projection, float64.

    Raises:
        StatisticsError: for fewer than two classes, too many components, or features that do not vary.

    References:
        Hastie et al., The Elements of Statistical Learning, section 4.3; letKD, BMVC 2023, supplementary algorithm 2.

    Example:
        >>> from kd_plugins.statistics import Block
        >>> moments = ClassMoments(2)
        >>> features = torch.tensor([[[0.0], [2.0]], [[10.0], [12.0]]])  # two images of two positions
        >>> moments.add(Block(features, torch.tensor([0, 1])))
        >>> discriminants(moments).weight.abs()  # each class has a standard deviation of 1
        tensor([[1.]], dtype=torch.float64)
    """
    present = moments.counts > 0
    classes, channels = int(present.sum()), moments.sums.shape[1]
    if classes < 2:
        raise StatisticsError(
            f"linear discriminants need positions of at least 2 classes, found {classes}; does the data set to fit on "
            "hold all classes?"
        )
    reduced = channels if pca is None else pca
    if not 1 <= reduced <= channels:
        raise StatisticsError(f"pca must lie in 1..{channels}, the channels of the layer, found {pca}")
    most = min(classes - 1, reduced)
    if components is not None and not 1 <= components <= most:
        raise StatisticsError(
            f"components must lie in 1..{most} ({classes} classes have positions, {reduced} channels), "
            f"found {components}"
        )
    components = min(60, most) if components is None else components

    counts, total = moments.counts[present], moments.counts.sum()
    means = moments.sums[present] / counts[:, None]
    middle = moments.sums.sum(0) / total
    within = (moments.squares - (means.T * counts) @ means) / total
    moment = moments.squares.diagonal() / total
    basis = torch.eye(channels, dtype=within.dtype, device=within.device)
    if pca is not None:
        spread = moments.squares / total - middle[:, None] * middle
        basis = torch.linalg.eigh(spread).eigenvectors.flip(1)[:, :pca]
        # A component without variance holds rounding errors; compare it with the variance of all channels.
        within, moment = basis.T @ within @ basis, spread.trace().expand(pca)
    directions = _within_directions(within, moment)
    between = (counts / (classes - 1)).sqrt()[:, None] * ((means - middle) @ basis) @ directions
    _, sizes, rotation = torch.linalg.svd(between, full_matrices=False)
    if not len(sizes) or not sizes[0] > 0:
        raise StatisticsError("the teacher's features are the same in all classes: there is nothing to discriminate")
    rank = min(components, int((sizes > TOLERANCE * sizes[0]).sum()))
    weight = (basis @ directions @ rotation[:rank].T).T
    bias = -weight @ (middle + moments.origin)
    return Projection(weight.cpu(), bias.cpu())


def _within_directions(within: Tensor, moment: Tensor) -> Tensor:
    """Return directions (d, r) in which the within-class scatter is the identity."""
    variance = within.diagonal()
    alive = variance > DEAD * moment
    deviation = torch.where(alive, variance.clamp_min(0).sqrt(), 1.0)
    scaled = torch.where(alive & alive[:, None], within / (deviation[:, None] * deviation), 0.0)
    values, vectors = torch.linalg.eigh(scaled)
    values, vectors = values.flip(0).clamp_min(0).sqrt(), vectors.flip(1)
    kept = values > TOLERANCE
    if not kept.any():
        raise StatisticsError("the teacher's features do not vary inside the classes: no discriminants can be scaled")
    # A dead channel gets weight 0 exactly; rounding may have left more in the eigenvectors.
    return vectors[:, kept] * alive[:, None] / deviation[:, None] / values[kept]
