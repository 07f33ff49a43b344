"""SimKD's projector from the student's last feature map to the teacher's channels."""

from __future__ import annotations

from torch import Tensor, nn

from .._checks import check_at_least


class FeatureProjector(nn.Module):
    r"""Three convolutions from a student's last map to a teacher's channels; it stays at inference.

    .. math:: P(F) = g_3\bigl(W_3\, g_2(W_2 * g_1(W_1 F))\bigr), \qquad g_i(x) = \mathrm{ReLU}(\mathrm{BN}_i(x))

    - :math:`F`: the student's last map,
    - :math:`W_1, W_3`: convolutions of 1x1, to c_t / ``reduction`` channels and to c_t,
    - :math:`W_2`: a convolution of 3x3 between them; none of the three has a bias.

    Args:
        in_channels: of the student's last map.
        out_channels: c_t, of what the teacher's classifier takes.
        reduction: how many times narrower the two inner layers are.

    Raises:
        ValueError: on a value below 1, or ``reduction`` above ``out_channels``.

    References:
        Chen et al., Knowledge Distillation with the Reused Teacher Classifier (SimKD), CVPR 2022, Section 3.2; the
        ReLU after the last layer is from the authors' code.

    Example:
        >>> import torch
        >>> FeatureProjector(16, 64)(torch.zeros(2, 16, 4, 4)).shape
        torch.Size([2, 64, 4, 4])
    """

    def __init__(self, in_channels: int, out_channels: int, *, reduction: int = 2) -> None:
        super().__init__()
        check_at_least("in_channels", in_channels, 1)
        check_at_least("out_channels", out_channels, 1)
        check_at_least("reduction", reduction, 1)
        if not isinstance(reduction, int) or reduction > out_channels:
            raise ValueError(
                f"reduction must be a whole number of at most {out_channels}, the teacher's channels, "
                f"found {reduction!r}"
            )
        inner = out_channels // reduction
        layers: list[nn.Module] = []
        for before, after, kernel in ((in_channels, inner, 1), (inner, inner, 3), (inner, out_channels, 1)):
            layers.append(nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=False))
            layers += [nn.BatchNorm2d(after), nn.ReLU()]
        self.layers = nn.Sequential(*layers)

    def forward(self, feature_map: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H, W)."""
        return self.layers(feature_map)
