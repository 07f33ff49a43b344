"""Blockwise forward and backward pass of a KD layer, with few passes over its scores."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ...transforms.map_rows import copied_rows, map_rows, rows_map
from ...transforms.precision import autocast_off
from ...transforms.row_blocks import column_sums, row_blocks
from ._directions import LENGTH_FLOOR, directions, dots, lost_along, of_directions, through_lengths, unit_rows
from ._norm import Norm


class ManyBlocks(torch.autograd.Function):
    """KD layer that saves only the scores and the input's directions, and recomputes the rest block by block.

    The sums of the batch norm's backward pass need no second pass over the scores: the scores are a product, so these
    sums enter as a term of rank one and as products of the two small factors.

    In ordinary torch operations, layer and loss save 6.1 maps of the scores' size instead of 2.1 and take 3.5 times as
    long (K = 4096, one CPU thread, ``kd-plugins bench letkd``).
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
        blocks = row_blocks(scores)
        space = torch.empty_like(scores[blocks[0]])
        if norm.training:
            mean, variance = _moments(rows, kernel, scores, space)
            norm.remember(mean, variance, len(rows))
        else:
            mean, variance = norm.mean.clone(), norm.variance
        steepness = (variance + norm.eps).rsqrt()
        slope = gain * steepness
        shift = torch.addcmul(bias, mean, slope, value=-1)
        length, change = rows.new_empty(len(rows), 1), torch.empty_like(rows)
        for block in blocks:
            weights = _weights(scores[block], slope, shift, space)
            torch.linalg.vector_norm(weights, dim=1, keepdim=True, out=length[block])
            torch.matmul(weights, values.T, out=change[block])
        change.div_(length.clamp_(min=LENGTH_FLOOR))
        out = torch.add(x, rows_map(change, x.shape), alpha=alpha)
        ctx.save_for_backward(
            rows, lengths, kernel, values, scores, slope, shift, length, mean, steepness, *of_score, *of_value
        )
        ctx.of_batch, ctx.alpha, ctx.size = norm.training, alpha, x.shape
        ctx.set_materialize_grads(False)
        return out, rows_map(scores, x.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_out: Tensor | None, of_scores: Tensor | None) -> tuple[Tensor | None, ...]:
        (
            rows, lengths, kernel, values, scores, slope, shift, length, mean, steepness,
            unit_score, score_length, score_scale, unit_value, value_length, value_scale,
        ) = ctx.saved_tensors  # fmt: skip
        if of_out is None:
            of_out = rows.new_zeros(ctx.size)
        with autocast_off(scores):
            of_sum = copied_rows(of_out).mul_(ctx.alpha / length)
            of_scores = None if of_scores is None else map_rows(of_scores)
            of_values, of_kernel = torch.zeros_like(values), torch.zeros_like(kernel)
            of_bias, of_scaled = torch.zeros_like(slope), torch.zeros_like(slope)
            share = lost_along(length.pow(-2), length)
            blocks = row_blocks(scores)
            space = torch.empty_like(scores[blocks[0]])
            of_rows = of_sum
            for block in blocks:
                own = scores[block]
                weights = _weights(own, slope, shift, space)
                of_weights = of_sum[block] @ values
                of_weights.addcmul_(weights, dots(of_weights, weights).mul_(share[block]), value=-1)
                of_values.addmm_(of_sum[block].T, weights)
                of_normed = of_weights.mul_(weights > 0)
                of_bias += column_sums(of_normed)
                of_scaled += column_sums(torch.mul(of_normed, own, out=weights))
                of_own = of_normed.mul_(slope)
                if of_scores is not None:
                    of_own += of_scores[block]
                of_kernel.addmm_(of_own.T, rows[block])
                of_rows[block] = of_own @ kernel
            of_gain = torch.addcmul(of_scaled, mean, of_bias, value=-1).mul_(steepness)
            if ctx.of_batch:
                # What the batch's mean and variance take from a score's gradient is u + v * score.
                v = slope * steepness * of_gain / len(rows)
                u = torch.addcmul(slope * of_bias / len(rows), mean, v, value=-1)
                _subtract(of_rows, of_kernel, rows, kernel, scores, u, v)
            if lengths is not None:
                through_lengths(of_rows, rows, lengths)
            of_x = of_out + rows_map(of_rows, ctx.size)
            of_score = of_directions(of_kernel, unit_score, score_length, score_scale)
            of_value = of_directions(of_values, unit_value, value_length, value_scale)
        return of_x, *of_score, of_gain, of_bias, *of_value, *(None,) * 3


def _weights(scores: Tensor, slope: Tensor, shift: Tensor, space: Tensor) -> Tensor:
    return torch.addcmul(shift, scores, slope, out=space[: len(scores)]).relu_()


def _products_are_cheaper(rows: Tensor, kernel: Tensor) -> bool:
    """Return whether products of the small sides cost less than one of the scores with one of them."""
    return rows.shape[1] * (len(rows) + len(kernel)) <= len(rows) * len(kernel)


def _moments(rows: Tensor, kernel: Tensor, scores: Tensor, space: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance of every column of the scores."""
    centre, blocks = column_sums(rows).div_(len(rows)), row_blocks(scores)
    mean = kernel @ centre
    if _products_are_cheaper(rows, kernel):
        centred = rows - centre
        covariance = (centred.T @ centred) / len(rows)
        return mean, torch.linalg.vecdot(kernel @ covariance, kernel).clamp_(min=0)
    squares = torch.zeros_like(mean)
    for block in blocks:
        own = scores[block]
        squares += column_sums(torch.sub(own, mean, out=space[: len(own)]).square_())
    return mean, squares.div_(len(rows))


def _subtract(
    of_rows: Tensor, of_kernel: Tensor, rows: Tensor, kernel: Tensor, scores: Tensor, u: Tensor, v: Tensor
) -> None:
    """Take, in place, the gradient u + v * scores of the scores away from that of both of their factors."""
    weighted = kernel * v.unsqueeze(1)
    of_rows.sub_(u @ kernel)
    of_kernel.addr_(u, column_sums(rows), alpha=-1)
    if _products_are_cheaper(rows, kernel):
        of_rows.addmm_(rows, kernel.T @ weighted, alpha=-1)
        of_kernel.addmm_(weighted, rows.T @ rows, alpha=-1)
    else:
        of_rows.addmm_(scores, weighted, alpha=-1)
        of_kernel.addcmul_(scores.T @ rows, v.unsqueeze(1), value=-1)
