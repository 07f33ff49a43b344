"""Linear projection of a feature map to one vector per sample."""

from __future__ import annotations

from torch import Tensor, nn

from .._checks import check_at_least
from ..transforms.precision import autocast_off, widen

EPS = 1e-6


class VectorProjection(nn.Module):
    r"""Average over positions and project linearly, by default to length 1.

    .. math:: e = W \bar F + b, \qquad \text{or} \qquad \frac{e}{\sqrt{\lVert e \rVert_2^2 + \varepsilon^2}}

    - :math:`F`: a map, :math:`\bar F` its mean over the H x W positions; a pooled feature is a 1x1 map,
    - :math:`W, b`: learned weight and bias,
    - :math:`\varepsilon`: 1e-6, which keeps the gradient finite at a zero vector.

    Args:
        in_channels: of the map.
        dim: length of the vector.
        normalize: whether to scale it to length 1.

    Raises:
        ValueError: on a number below 1, or a map with other channels.

    Example:
        >>> import torch
        >>> VectorProjection(16, 4)(torch.ones(2, 16, 8, 8)).shape
        torch.Size([2, 4])
    """

    def __init__(self, in_channels: int, dim: int, *, normalize: bool = True) -> None:
        super().__init__()
        check_at_least("in_channels", in_channels, 1)
        check_at_least("dim", dim, 1)
        self.linear = nn.Linear(in_channels, dim)
        self.normalize = normalize

    def forward(self, feature_map: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, dim), float32 at least."""
        if feature_map.shape[1] != self.linear.in_features:
            raise ValueError(
                f"the projection takes {self.linear.in_features} channels, found a map of shape "
                f"{tuple(feature_map.shape)}; give its channels in the pairs of ProjectedStudent"
            )
        with autocast_off(feature_map):
            vector = self.linear(widen(feature_map).mean((2, 3)))
            if not self.normalize:
                return vector
            return vector / vector.square().sum(1, keepdim=True).add(EPS**2).sqrt()
