"""Standardization of logits to Z-scores."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .._checks import check_choice, check_logits, check_positive
from .precision import autocast_off, widen
from .temperature import temperature_column

GRADIENT_STD_FLOOR = 0.1
"""The smallest standard deviation of a row in the backward pass of :func:`standardize`."""


class _ZScore(torch.autograd.Function):
    """Rows minus their mean, over their ``std + eps``, times ``scale``; bounds the gradient of nearly constant rows.

    The layer-norm kernels compute ``1 / sqrt(var + constant)``. A factor per row moves eps to its place in the formula,
    in the value and in both terms of the gradient.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float, eps: float) -> Tensor:
        # The smallest normal number prevents 0 * inf in a constant row.
        tiny = torch.finfo(x.dtype).tiny
        weight = x.new_full(x.shape[1:], scale)  # the kernel multiplies by it without another pass
        unit, mean, inverse_std = torch.native_layer_norm(x, x.shape[1:], weight, None, tiny)
        std = inverse_std.reciprocal()
        ctx.save_for_backward(x, weight, mean, std)
        ctx.eps = eps
        return unit.mul_(std / (std + eps))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        x, weight, mean, std = ctx.saved_tensors
        std = std.clamp(min=GRADIENT_STD_FLOOR)
        divisor = std + ctx.eps
        through, _, _ = torch.ops.aten.native_layer_norm_backward(
            gradient, x, x.shape[1:], mean, (std * divisor).rsqrt(), weight, None, [True, False, False]
        )
        return through.mul_((std / divisor).sqrt()), None, None


def standardize(
    logits: Tensor,
    *,
    temperature: float | Tensor = 1.0,
    correction: int = 0,
    eps: float = 1e-7,
    centre: bool = True,
    scale: bool = True,
) -> Tensor:
    r"""Z-score every row of ``logits`` and divide by a base temperature.

    .. math:: Z(x; \tau)_k = \frac{x_k - \bar x}{(\sigma(x) + \varepsilon)\,\tau}

    - :math:`x_k, \bar x, \sigma(x)`: logit of class k, mean and standard deviation of the row,
    - :math:`\varepsilon, \tau`: a small number, which keeps a constant row finite, and the base temperature.

    The standard deviation divides by C as in the paper, or with ``correction=1`` by C - 1 as in the authors' code,
    which also adds eps. The gradient is exact for rows whose standard deviation over C is at least 0.1
    (``GRADIENT_STD_FLOOR``); below, it is that of a row with this deviation. The formula's own gradient at a constant
    row is of order 1 / eps, so the first step would throw a zero-initialised head far off. It can be differentiated
    once.

    Args:
        logits: class scores, shape (B, C), C >= 2.
        temperature: :math:`\tau > 0`: a number, or a tensor with 1 or B elements, which receives a gradient.
        correction: 0 divides the variance by C, 1 by C - 1.
        eps: :math:`\varepsilon > 0`.
        centre: whether the mean is subtracted.
        scale: whether the standard deviation divides; with neither, only the temperature does.

    Returns:
        Shape (B, C), float32 at least.

    Raises:
        ValueError: on another shape, or an argument out of range.

    References:
        Sun et al., Logit Standardization in Knowledge Distillation, CVPR 2024, Algorithm 1.

    Example:
        >>> standardize(torch.tensor([[1.0, 3.0]]), temperature=2.0)
        tensor([[-0.5000,  0.5000]])
    """
    check_logits("logits", logits)
    check_choice("correction", correction, (0, 1))
    check_positive("eps", eps)
    batch, classes = logits.shape
    tau = temperature_column(temperature, batch)
    if not (centre and scale):
        return _partly(widen(logits), correction, eps, centre=centre, scale=scale) / tau
    spread = math.sqrt(classes / (classes - correction))  # of the wanted deviation over the one by C
    with autocast_off(logits):
        if isinstance(tau, Tensor):
            return _ZScore.apply(widen(logits), 1 / spread, eps / spread) / tau
        return _ZScore.apply(widen(logits), 1 / (spread * tau), eps / spread)


def _partly(x: Tensor, correction: int, eps: float, *, centre: bool, scale: bool) -> Tensor:
    """Return logits that are only centred, only scaled, or as they are; the gradient is bounded as for both."""
    centred = x - x.mean(1, keepdim=True)
    if not scale:
        return centred if centre else x
    std = centred.square().sum(1, keepdim=True).div(x.shape[1] - correction).clamp(min=torch.finfo(x.dtype).tiny).sqrt()
    bounded = x / (std.clamp(min=GRADIENT_STD_FLOOR) + eps)
    return bounded + (x / (std + eps) - bounded).detach()
