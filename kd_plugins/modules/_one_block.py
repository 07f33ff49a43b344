"""A KD layer whose scores are few enough to stay in the cache."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..transforms.map_rows import copied_rows, map_rows, rows_map
from ..transforms.precision import autocast_off
from ._directions import directions, dots, floored_lengths, lost_along, of_directions, unit_rows
from ._norm import Norm


class OneBlock(torch.autograd.Function):
    """The layer with as few operations as can be: beside so few scores, each of them counts.

    So the weights are kept too, and not made again.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        score_kernel: Tensor,
        score_scale: Tensor,
        gain: Tensor,
        bias: Tensor,
        value_kernel: Tensor,
        value_scale: Tensor,
        alpha: float,
        norm: Norm,
        normalize: bool,
    ) -> tuple[Tensor, Tensor]:
        kernel, of_score = directions(score_kernel, score_scale)
        values, of_value = directions(value_kernel, value_scale)
        rows, lengths = unit_rows(x, normalize)
        scores = rows @ kernel.T
        weights, mean, steepness = torch.native_batch_norm(
            scores, gain, bias, norm.mean, norm.variance, norm.training, norm.momentum, norm.eps
        )
        length = floored_lengths(weights.relu_())
        weights.div_(length)
        out = _plus_product(x, weights, values, alpha)
        # The running statistics are not read in training mode, and a later batch moves them before the backward pass.
        known = (None, None) if norm.training else (norm.mean.clone(), norm.variance.clone())
        ctx.save_for_backward(
            x, rows, lengths, kernel, values, scores, weights, length, gain, mean, steepness,
            *known, *of_score, *of_value,
        )  # fmt: skip
        ctx.alpha, ctx.eps, ctx.training = alpha, norm.eps, norm.training
        ctx.set_materialize_grads(False)
        return out, rows_map(scores, x.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_out: Tensor | None, of_scores: Tensor | None) -> tuple[Tensor | None, ...]:
        (
            x, rows, lengths, kernel, values, scores, weights, length, gain, mean, steepness,
            known_mean, known_variance, unit_score, score_length, score_scale, unit_value, value_length, value_scale,
        ) = ctx.saved_tensors  # fmt: skip
        if of_out is None:
            of_out = torch.zeros_like(x)
        with autocast_off(x):
            of_sum = copied_rows(of_out)
            if ctx.alpha != 1:
                of_sum.mul_(ctx.alpha)
            of_weights = of_sum @ values
            of_weights.addcmul_(weights, lost_along(dots(of_weights, weights), length), value=-1).div_(length)
            of_normed = torch.ops.aten.threshold_backward.grad_input(of_weights, weights, 0, grad_input=of_weights)
            of_own, of_gain, of_bias = torch.ops.aten.native_batch_norm_backward(
                of_normed, scores, gain, known_mean, known_variance, mean, steepness, ctx.training, ctx.eps, [True] * 3
            )
            if of_scores is not None:
                of_own += map_rows(of_scores)
            of_score = of_directions(of_own.T @ rows, unit_score, score_length, score_scale)
            of_value = of_directions(of_sum.T @ weights, unit_value, value_length, value_scale)
            if lengths is None:
                of_x = _plus_product(of_out, of_own, kernel.T)
            else:
                # What the gradient of a position has along it is that of its scores along the scores.
                along = torch.mul(of_own, scores, out=of_weights).sum(1, keepdim=True)
                along = lost_along(along, lengths).div_(lengths.square())
                of_x = _plus_product(of_out, torch.div(of_own, lengths, out=of_weights), kernel.T)
                of_x.addcmul_(x, rows_map(along, x.shape), value=-1)
        return of_x, *of_score, of_gain, of_bias, *of_value, *(None,) * 3


def _plus_product(x: Tensor, rows: Tensor, kernel: Tensor, alpha: float = 1.0) -> Tensor:
    """Return x (B, c, H, W) + alpha * (rows @ kernel.T), whose rows are the positions."""
    return torch.add(x, rows_map(rows @ kernel.T, x.shape), alpha=alpha)
