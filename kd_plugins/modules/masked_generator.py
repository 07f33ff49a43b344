"""Generator of the teacher's feature map from a masked map of the student."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .._checks import check_at_least
from .regressor import sized_convolution


class MaskedGenerator(nn.Module):
    r"""Two convolutions that fill in a student's feature map with random channels set to zero (MGD).

    .. math:: G(F) = W_2 * \mathrm{ReLU}(W_1 * (M \odot A(F)))

    - :math:`A`: a convolution to the teacher's channels and, at a ratio of 2, to its size; none if both are equal,
    - :math:`M`: mask of a sample's channels in training, 0 with probability ``mask_ratio``,
    - :math:`W_1, W_2`: convolutions of 3x3.

    Args:
        in_channels: of the student's map.
        out_channels: of the teacher's.
        resize: as in :class:`~kd_plugins.modules.FeatureRegressor`.
        mask_ratio: share of masked channels, in [0, 1).

    Raises:
        ValueError: on an argument out of range.

    References:
        Yang et al., Masked Generative Distillation, ECCV 2022, Eq. (2); the authors' code for the masking of channels.

    Example:
        >>> MaskedGenerator(16, 64, resize="half")(torch.zeros(2, 16, 8, 8)).shape
        torch.Size([2, 64, 4, 4])
    """

    def __init__(self, in_channels: int, out_channels: int, *, resize: str = "none", mask_ratio: float = 0.15) -> None:
        super().__init__()
        check_at_least("mask_ratio", mask_ratio, 0)
        if mask_ratio >= 1:
            raise ValueError(f"mask_ratio must be below 1, found {mask_ratio}: nothing of the map would be left")
        self.mask_ratio = mask_ratio
        alike = in_channels == out_channels and resize == "none"
        self.align = nn.Identity() if alike else sized_convolution(in_channels, out_channels, resize)
        self.generation = nn.Sequential(
            nn.Conv2d(out_channels, out_channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(out_channels, out_channels, 3, padding=1),
        )

    def forward(self, feature_map: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H', W')."""
        aligned = self.align(feature_map)
        if self.training and self.mask_ratio:
            aligned = aligned * (torch.rand_like(aligned[:, :, :1, :1]) >= self.mask_ratio)
        return self.generation(aligned)

    def extra_repr(self) -> str:
        """Return the share of masked channels."""
        return f"mask_ratio={self.mask_ratio}"
