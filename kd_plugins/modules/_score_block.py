"""Scores, batch norm, ReLU and values of a KD layer, with few passes over the scores."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..transforms.precision import autocast_off
from ..transforms.row_blocks import joined, row_blocks

LENGTH_FLOOR = 1e-4
"""A shorter row of weights is divided by this and not by its length."""


class _ScoreBlock(torch.autograd.Function):
    """The forward pass keeps the scores alone of all that has their size; everything else is made again.

    Where the scores are more than one block, no second pass over them waits for the sums of the batch norm's backward
    pass: these enter as a term of rank one and as products of the small sides, since the scores are a product.
    """

    @staticmethod
    def forward(
        ctx: Any,
        rows: Tensor,
        kernel: Tensor,
        gain: Tensor,
        bias: Tensor,
        values: Tensor,
        moments: tuple[Tensor, Tensor] | None,
        eps: float,
        normalize: bool,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        lengths_of_rows = _lengths(rows) if normalize else None
        if lengths_of_rows is not None:
            rows = rows / lengths_of_rows.clamp(min=LENGTH_FLOOR)
        scores = rows @ kernel.T
        blocks = row_blocks(scores)
        # Memory that was just used is still in the cache, and new memory is dear on the CPU.
        space = torch.empty_like(scores[blocks[0]])
        mean, variance = moments or _moments(rows, kernel, scores, space)
        deviation = (variance + eps).sqrt()
        slope = gain / deviation
        shift = torch.addcmul(bias, mean, slope, value=-1)
        sums, lengths = [], []
        for block in blocks:
            weights = _weights(scores[block], slope, shift, space)
            lengths.append(torch.linalg.vector_norm(weights, dim=1, keepdim=True))
            sums.append(weights @ values.T)
        length = joined(lengths)
        out = joined(sums).div_(length.clamp(min=LENGTH_FLOOR))
        ctx.save_for_backward(rows, kernel, values, scores, slope, shift, mean, deviation, out, length, lengths_of_rows)
        ctx.of_batch = moments is None
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(mean, variance)
        return out, scores, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_out: Tensor | None, of_scores: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
        rows, kernel, values, scores, slope, shift, mean, deviation, out, length, lengths = ctx.saved_tensors
        with autocast_off(scores):
            if of_out is None:
                if of_scores is None:
                    return (None,) * 8
                of_rows = _through_lengths(of_scores @ kernel, rows, lengths)
                return of_rows, of_scores.T @ rows, None, None, None, None, None, None
            floored = length.clamp(min=LENGTH_FLOOR)
            of_sum = of_out / floored
            # Along a row's own direction its length takes the gradient away, where it is divided by its length.
            along = torch.linalg.vecdot(of_sum, out).unsqueeze(1).div_(floored).mul_(length >= LENGTH_FLOOR)
            of_values, of_kernel = torch.zeros_like(values), torch.zeros_like(kernel)
            of_bias, of_scaled = torch.zeros_like(slope), torch.zeros_like(slope)
            parts, blocks = [], row_blocks(scores)
            space = torch.empty_like(scores[blocks[0]])
            for block in blocks:
                own = scores[block]
                weights = _weights(own, slope, shift, space)
                of_weights = (of_sum[block] @ values).addcmul_(weights, along[block], value=-1)
                of_values.addmm_(of_sum[block].T, weights)
                of_normed = torch.ops.aten.threshold_backward.grad_input(of_weights, weights, 0, grad_input=of_weights)
                of_bias += of_normed.sum(0)
                of_scaled += torch.mul(of_normed, own, out=weights).sum(0)
                if ctx.of_batch and len(blocks) == 1:
                    u, v = _shares(of_bias, of_scaled, slope, mean, deviation, len(rows))
                    of_own = torch.addcmul(-u, own, -v, out=weights).addcmul_(of_normed, slope)
                else:
                    of_own = of_normed.mul_(slope)
                if of_scores is not None:
                    of_own += of_scores[block]
                of_kernel.addmm_(of_own.T, rows[block])
                parts.append(of_own @ kernel)
            of_rows = joined(parts)
            if ctx.of_batch and len(blocks) > 1:
                shares = _shares(of_bias, of_scaled, slope, mean, deviation, len(rows))
                _subtract(of_rows, of_kernel, rows, kernel, scores, *shares)
            of_gain = torch.addcmul(of_scaled, mean, of_bias, value=-1) / deviation
            of_rows = _through_lengths(of_rows, rows, lengths)
        return of_rows, of_kernel, of_gain, of_bias, of_values, None, None, None


def _lengths(rows: Tensor) -> Tensor:
    return torch.linalg.vector_norm(rows, dim=1, keepdim=True)


def _through_lengths(gradient: Tensor, unit: Tensor, lengths: Tensor | None) -> Tensor:
    """Turn, in place, the gradient of rows of length 1 into that of the rows they were made of."""
    if lengths is None:
        return gradient
    along = torch.linalg.vecdot(gradient, unit).unsqueeze(1).mul_(lengths >= LENGTH_FLOOR)
    return gradient.addcmul_(unit, along, value=-1).div_(lengths.clamp(min=LENGTH_FLOOR))


def _weights(scores: Tensor, slope: Tensor, shift: Tensor, space: Tensor) -> Tensor:
    return torch.addcmul(shift, scores, slope, out=space[: len(scores)]).relu_()


def _products_are_cheaper(rows: Tensor, kernel: Tensor) -> bool:
    """Return whether products of the small sides cost less than one of the scores with one of them."""
    return rows.shape[1] * (len(rows) + len(kernel)) <= len(rows) * len(kernel)


def _moments(rows: Tensor, kernel: Tensor, scores: Tensor, space: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance of every column of the scores."""
    centre, blocks = rows.sum(0).div_(len(rows)), row_blocks(scores)  # mean(0) takes longer
    mean = kernel @ centre
    if len(blocks) > 1 and _products_are_cheaper(rows, kernel):
        centred = rows - centre
        covariance = (centred.T @ centred) / len(rows)
        return mean, torch.linalg.vecdot(kernel @ covariance, kernel).clamp_(min=0)
    squares = torch.zeros_like(mean)
    for block in blocks:
        own = scores[block]
        squares += torch.sub(own, mean, out=space[: len(own)]).square_().sum(0)
    return mean, squares.div_(len(rows))


def _shares(
    of_bias: Tensor, of_scaled: Tensor, slope: Tensor, mean: Tensor, deviation: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    """Return u and v: what the batch's mean and variance take from a score's gradient is u + v * score."""
    v = slope * torch.addcmul(of_scaled, mean, of_bias, value=-1) / (deviation.square() * count)
    return torch.addcmul(slope * of_bias / count, mean, v, value=-1), v


def _subtract(
    of_rows: Tensor, of_kernel: Tensor, rows: Tensor, kernel: Tensor, scores: Tensor, u: Tensor, v: Tensor
) -> None:
    """Take, in place, the gradient u + v * scores of the scores away from that of both of their factors."""
    weighted = kernel * v.unsqueeze(1)
    of_rows.sub_(u @ kernel)
    of_kernel.addr_(u, rows.sum(0), alpha=-1)
    if _products_are_cheaper(rows, kernel):
        of_rows.addmm_(rows, kernel.T @ weighted, alpha=-1)
        of_kernel.addmm_(weighted, rows.T @ rows, alpha=-1)
    else:
        of_rows.addmm_(scores, weighted, alpha=-1)
        of_kernel.addcmul_(scores.T @ rows, v.unsqueeze(1), value=-1)


class _Directions(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, scale: Tensor) -> Tensor:
        lengths = _lengths(rows)
        unit = rows / lengths.clamp(min=LENGTH_FLOOR)
        ctx.save_for_backward(unit, lengths, scale)
        return unit * scale

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        unit, lengths, scale = ctx.saved_tensors
        with autocast_off(unit):
            of_scale = (gradient * unit).sum().view(1)
            return _through_lengths(gradient * scale, unit, lengths), of_scale


def directions(rows: Tensor, scale: Tensor) -> Tensor:
    """Return rows divided by their lengths, or by 1e-4 where they are shorter, times a scale of shape (1,).

    Example:
        >>> directions(torch.tensor([[3.0, 4.0]]), torch.tensor([10.0]))
        tensor([[6., 8.]])
    """
    with autocast_off(rows):
        return _Directions.apply(rows, scale)


def score_block(
    rows: Tensor,
    kernel: Tensor,
    gain: Tensor,
    bias: Tensor,
    values: Tensor,
    *,
    moments: tuple[Tensor, Tensor] | None = None,
    eps: float = 1e-5,
    normalize: bool = True,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    r"""Return what a KD layer computes between its two normalisations.

    .. math:: S = X W^\top, \qquad P = \mathrm{ReLU}(\mathrm{BN}(S)), \qquad
        Y_n = \frac{V P_n}{\max(\lVert P_n \rVert_2, \varepsilon)}

    - :math:`X`: ``rows``, :math:`W`: ``kernel``, :math:`V`: ``values``,
    - :math:`\mathrm{BN}`: with ``gain`` and ``bias`` per column of the scores S.

    Args:
        rows: shape (N, c), float32 or float64.
        kernel: shape (K, c).
        gain: shape (K,).
        bias: shape (K,).
        values: shape (c', K).
        moments: mean and variance (K,) of the scores that the batch norm takes; None for the batch's own.
        eps: added to the variance.
        normalize: whether X is first divided by the lengths of its rows, as :func:`directions` does.

    Returns:
        Y (N, c'), S (N, K), and mean and variance of the columns. Y and S can be differentiated once.
    """
    with autocast_off(rows):
        return _ScoreBlock.apply(rows, kernel, gain, bias, values, moments, eps, normalize)
