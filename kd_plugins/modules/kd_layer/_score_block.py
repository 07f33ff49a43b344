"""Formula of a KD layer: scores and output features of a map."""

from __future__ import annotations

from torch import Tensor

from ...transforms.precision import autocast_off
from ._many_blocks import ManyBlocks
from ._norm import Norm


def score_block(
    x: Tensor,
    score_kernel: Tensor,
    score_scale: Tensor,
    gain: Tensor,
    bias: Tensor,
    value_kernel: Tensor,
    value_scale: Tensor,
    *,
    alpha: float = 1.0,
    norm: Norm,
    normalize: bool = True,
) -> tuple[Tensor, Tensor]:
    r"""Return scores and output of a KD layer for a map.

    .. math:: S_n = W \frac{x_n}{\lVert x_n \rVert_2}, \qquad P = \mathrm{ReLU}(\mathrm{BN}(S)), \qquad
        Y_n = x_n + \alpha \frac{V P_n}{\lVert P_n \rVert_2}

    - :math:`x_n`: the map at a position,
    - :math:`W, V`: the rows of ``score_kernel`` and ``value_kernel``, divided by their lengths, times their scales,
    - :math:`\mathrm{BN}`: with ``gain`` and ``bias`` per column of the scores S.

    A length below 1e-4 counts as 1e-4.

    Args:
        x: shape (B, c, H, W), float32 or float64.
        score_kernel: shape (K, c).
        score_scale: shape (1,).
        gain: shape (K,).
        bias: shape (K,).
        value_kernel: shape (c, K).
        value_scale: shape (1,).
        alpha: share of the change in Y.
        norm: of the batch norm.
        normalize: False leaves out the division by the lengths of x_n.

    Returns:
        Y, of the shape of x, and S (B, K, H, W), whose K entries of a position lie side by side. They can be
        differentiated once.
    """
    with autocast_off(x):
        return ManyBlocks.apply(
            x, score_kernel, score_scale, gain, bias, value_kernel, value_scale, alpha, norm, normalize
        )
