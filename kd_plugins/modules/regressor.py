"""Regressors from a student's feature map to the channels, and if possible the size, of a teacher's."""

from __future__ import annotations

from torch import Tensor, nn

from .._checks import check_at_least, check_choice

RESIZES = ("none", "half", "double")


class FeatureRegressor(nn.Module):
    r"""Convolution, batch norm and ReLU from a student's feature map to a teacher's channels.

    .. math:: r(F) = \mathrm{ReLU}\bigl(\mathrm{BN}(W * F + b)\bigr)

    - :math:`F`: the student's map, ``in_channels`` at H x W positions,
    - :math:`W, b`: a convolution of 1x1 for ``resize="none"``, of 3x3 with stride 2 for ``"half"``, and a transposed
      one of 4x4 with stride 2 for ``"double"``.

    Args:
        in_channels: of the student's map.
        out_channels: of the teacher's.
        resize: ``"none"``, ``"half"`` or ``"double"``; :func:`resize_between` chooses it.

    Raises:
        ValueError: on a number of channels below 1 or another ``resize``.

    References:
        Romero et al., FitNets: Hints for Thin Deep Nets, ICLR 2015, Eq. (3), without batch norm and ReLU, which public
        code and Salient Feature Knowledge Distillation (SFKD), Eq. (2), add.

    Example:
        >>> import torch
        >>> FeatureRegressor(16, 64, resize="half")(torch.zeros(2, 16, 8, 8)).shape
        torch.Size([2, 64, 4, 4])
    """

    def __init__(self, in_channels: int, out_channels: int, *, resize: str = "none") -> None:
        super().__init__()
        self.conv = sized_convolution(in_channels, out_channels, resize)
        self.bn = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU()

    def forward(self, feature_map: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H', W')."""
        return self.relu(self.bn(self.conv(feature_map)))


def sized_convolution(in_channels: int, out_channels: int, resize: str) -> nn.Module:
    """Return the convolution of a regressor, see :class:`FeatureRegressor`."""
    check_at_least("in_channels", in_channels, 1)
    check_at_least("out_channels", out_channels, 1)
    check_choice("resize", resize, RESIZES)
    if resize == "none":
        return nn.Conv2d(in_channels, out_channels, 1)
    if resize == "half":
        return nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1)
    return nn.ConvTranspose2d(in_channels, out_channels, 4, stride=2, padding=1)


def resize_between(student: tuple[int, int], teacher: tuple[int, int]) -> str:
    """Return the ``resize`` of a regressor for maps of sizes (H, W); at ratios other than 2 the loss pools the maps.

    Example:
        >>> resize_between((8, 8), (4, 4)), resize_between((4, 4), (8, 8)), resize_between((7, 7), (8, 8))
        ('half', 'double', 'none')
    """
    if student == (2 * teacher[0], 2 * teacher[1]):
        return "half"
    return "double" if teacher == (2 * student[0], 2 * student[1]) else "none"
