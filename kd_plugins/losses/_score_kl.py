"""KL divergence between KD-layer scores and their targets, computed in blocks to save memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..transforms.map_rows import copied_rows, map_rows, rows_map
from ..transforms.precision import autocast_off
from ..transforms.row_blocks import row_blocks
from ._once import refuse_second_derivative


class _ScoreKL(torch.autograd.Function):
    """Mean over the rows of KL(targets || softmax(scores)); only the gradient is saved for backward.

    In ordinary operations the loss of K = 4096 scores takes 2.4 times as long and three times the memory (4096
    positions, CPU).
    """

    @staticmethod
    def forward(ctx: Any, scores: Tensor, source: str, *parts: Tensor) -> Tensor:
        ctx.size, scores = scores.shape, map_rows(scores)
        make, blocks = SOURCES[source], row_blocks(scores)
        total, kept = scores.new_zeros(()), None
        if ctx.needs_input_grad[0] and len(blocks) > 1:
            kept = torch.empty_like(scores)
        for block in blocks:
            own = scores[block]
            targets, against = make(block, own, *parts)
            predicted = torch.softmax(own, dim=1)
            total += against.add_(_log_divisors(own, predicted))
            if kept is not None:
                torch.sub(predicted, targets, out=kept[block])
            elif ctx.needs_input_grad[0]:
                kept = predicted.sub_(targets)
        if kept is not None:
            ctx.save_for_backward(kept)
        return total / len(scores)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (kept,) = ctx.saved_tensors
        refuse_second_derivative()
        of_scores = rows_map(kept * (gradient / len(kept)), ctx.size)
        return of_scores, *[None] * (len(ctx.needs_input_grad) - 1)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return torch.dot(a.flatten(), b.flatten())


def _log_divisors(logits: Tensor, probabilities: Tensor) -> Tensor:
    """Return the sum over the rows of the log of the softmax's divisor, without a second pass of exponentials."""
    return (logits.amax(1) - probabilities.amax(1).log_()).sum()


def _as_given(block: slice, scores: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    own = targets[block]
    return own, torch.special.xlogy(own, own).sum() - _dot(own, scores)


def _from_centres(
    block: slice, scores: Tensor, features: Tensor, centres: Tensor, offsets: Tensor
) -> tuple[Tensor, Tensor]:
    closeness = torch.addmm(offsets, features[block], centres.T)
    # Far from all centres the entries are large, and rounding would hide their differences.
    closeness -= closeness.amax(1, keepdim=True)
    targets = torch.softmax(closeness, dim=1)
    return targets, _dot(targets, closeness.sub_(scores)) + targets.amax(1).log_().sum()


def _from_table(
    block: slice, scores: Tensor, index: Tensor, table: Tensor, negentropy: Tensor
) -> tuple[Tensor, Tensor]:
    own = index[block]
    targets = table[own]
    return targets, negentropy[own].sum() - _dot(targets, scores)


SOURCES: dict[str, Callable[..., tuple[Tensor, Tensor]]] = {
    "targets": _as_given,
    "centres": _from_centres,
    "table": _from_table,
}
"""Source of the targets -> function that returns a block's targets and its sum of p (log p - score)."""


def score_kl(scores: Tensor, source: str, *parts: Tensor) -> Tensor:
    """Return the mean over the rows of KL(targets || softmax(scores)), differentiable once by ``scores``.

    The scores are (B, K, H, W) or (N, K), float32 or float64. The parts are, by source, probabilities (N, K)
    (``"targets"``), what :meth:`Centres.parts` gives (``"centres"``), or rows (N,) of a table of probabilities (T, K),
    the table, and its rows' sums of p log p (T,) (``"table"``).
    """
    with autocast_off(scores):
        return _ScoreKL.apply(scores, source, *parts)


@dataclass(frozen=True)
class Centres:
    r"""Centres :math:`\rho` prepared for :math:`-t \|x_n - \rho_k\|^2`, up to a term of n alone.

    All points are moved to the middle of the centres, which keeps products and rounding errors small.
    """

    middle: Tensor  # (d,)
    around: Tensor  # 2 t (rho_k - middle), (K, d)
    offsets: Tensor  # -t |rho_k - middle|^2, (K,)

    @staticmethod
    def of(centres: Tensor, sharpness: float) -> Centres:
        """Return the centres (K, d) with the sharpness t of an assignment."""
        middle = centres.mean(0)
        around = centres - middle
        return Centres(middle, around * (2 * sharpness), around.square().sum(1) * -sharpness)

    def parts(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return a, b, c of features (B, d, H, W) or (N, d): position n is c_k + a_n b_k close to centre k."""
        return copied_rows(features).sub_(self.middle), self.around, self.offsets
