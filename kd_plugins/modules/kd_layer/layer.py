"""The KD layer: scores against learned kernels, projected back and added to the student's features."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..._checks import check_at_least, check_finite, check_positive
from ...transforms.precision import autocast_off, widen
from ._many_blocks import ManyBlocks
from ._norm import Norm


class KDLayer(nn.Module):
    r"""A layer of the student whose scores a teacher supervises; it is also used at inference.

    .. math:: s = \mathrm{cos}_1(x), \qquad p = \mathrm{ReLU}(\mathrm{BN}(s)), \qquad
        \hat x = x + \alpha \, \mathrm{cos}_2(p)

    - :math:`x`: the student's feature map,
    - :math:`\mathrm{cos}_i`: a 1x1 convolution of the input's direction with the kernels' directions, times a learned
      scale, without a bias: :math:`(\mathrm{cos}(x))_k = \sigma \, \frac{w_k \cdot x}{\|w_k\| \|x\|}` at every
      position,
    - :math:`s`: the scores, which ``LetKDLoss`` compares with the teacher's assignment,
    - :math:`\alpha`: weight of the layer's output; it is not learned.

    The submodule ``scores`` is called with s as a map (B, K, H, W) in float32, so a hook on it captures them; their
    gradient flows to the kernels and to x. In memory the K scores of a position are contiguous. If there are many, s is
    the only tensor of its size that is saved for backward. Positions, and rows of p, shorter than 1e-4 are divided by
    1e-4 instead of their length, which bounds the gradient. The batch norm's statistics are not synchronised across
    processes.

    Args:
        channels: c, of the feature map.
        num_scores: K.
        alpha: :math:`\alpha`, finite.
        score_scale: initial scale of :math:`\mathrm{cos}_1`.
        output_scale: initial scale of :math:`\mathrm{cos}_2`.

    Raises:
        ValueError: on a value out of range.

    References:
        letKD, Knowledge Distillation Layer that Lets the Student Decide, BMVC 2023, supplementary material,
        Section 2.2; the initial scales are the authors' code's.

    Example:
        >>> layer = KDLayer(16, 64)
        >>> layer(torch.zeros(2, 16, 8, 8)).shape
        torch.Size([2, 16, 8, 8])
    """

    def __init__(
        self, channels: int, num_scores: int, *, alpha: float = 1.0, score_scale: float = 3.0, output_scale: float = 1.0
    ) -> None:
        super().__init__()
        check_at_least("channels", channels, 1)
        check_at_least("num_scores", num_scores, 1)
        check_finite("alpha", alpha)
        check_positive("score_scale", score_scale)
        check_positive("output_scale", output_scale)
        self.alpha = alpha
        self.score_kernel = nn.Parameter(torch.empty(num_scores, channels))
        self.score_scale = nn.Parameter(torch.full((1,), float(score_scale)))
        self.norm = nn.BatchNorm1d(num_scores)
        self.value_kernel = nn.Parameter(torch.empty(channels, num_scores))
        self.value_scale = nn.Parameter(torch.full((1,), float(output_scale)))
        self.scores = nn.Identity()
        for kernel in (self.score_kernel, self.value_kernel):
            nn.init.kaiming_uniform_(kernel, a=math.sqrt(5))  # as torch's convolutions begin

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, c, H, W) to the same shape and precision."""
        channels = self.score_kernel.shape[1]
        if x.ndim != 4 or x.shape[1] != channels:
            raise ValueError(
                f"a KDLayer of {channels} channels takes maps (B, {channels}, H, W), found {tuple(x.shape)}"
            )
        with autocast_off(x):
            out, scores = ManyBlocks.apply(
                widen(x), self.score_kernel, self.score_scale, self.norm.weight, self.norm.bias, self.value_kernel,
                self.value_scale, self.alpha, Norm.of(self.norm), True,
            )  # fmt: skip
            self.scores(scores)
            return out.to(x.dtype)

    def extra_repr(self) -> str:
        """Return the sizes."""
        scores, channels = self.score_kernel.shape
        return f"{channels}, {scores}, alpha={self.alpha}"
