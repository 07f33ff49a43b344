"""Salient entries of a tensor: the largest ones of each sample."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from .._checks import check_choice

ORDERS = ("value", "magnitude")
"""Criteria for the size of an entry."""
FILLS = ("zero", "-inf")
"""Values of masked entries."""
_LONGEST_COUNT = 2**15 - 1
_BLOCK = 256
_ENTRIES_AT_A_TIME = 2**18


def salient_mask(x: Tensor, *, keep: float | int, by: str = "value") -> Tensor:
    r"""Mark the K largest entries of every sample.

    .. math:: M_i = \begin{cases} 1 & x_i \text{ among the } K \text{ largest} \\ 0 & \text{else} \end{cases}

    - :math:`x_i`: entry i of a sample, over everything but the batch dimension: N = C for logits, N = c * H * W
      for features,
    - :math:`K`: number of entries kept.

    Exactly K entries are marked. Ties at the threshold are broken in the tensor's order. A NaN counts as large and is
    always marked, so it is not hidden from the loss.

    Args:
        x: logits (B, C), features (B, c, H, W), or any other (B, ...).
        keep: a fraction in (0, 1] of N, rounded to the nearest whole number and at least 1, or K itself, an int.
        by: ``"value"`` or ``"magnitude"``.

    Returns:
        Bool, of the shape of ``x``.

    Raises:
        ValueError: on another shape or an argument out of range.

    References:
        Efficient Knowledge Distillation via Salient Feature Masking (SFKD), authors anonymous, under review, Eq. (4).

    Example:
        >>> salient_mask(torch.tensor([[3.0, -5.0, 1.0, 1.0]]), keep=2).tolist()
        [[True, False, True, False]]
    """
    count = _checked_count(x, keep, by)
    if count == x[0].numel():
        return torch.ones_like(x, dtype=torch.bool)
    mask = torch.empty_like(x, dtype=torch.bool)
    for group, of_mask in _groups(x.detach(), mask):
        of_mask.copy_(_largest(group, count, by))
    return mask


def keep_salient(x: Tensor, *, keep: float | int, by: str = "value", fill: str = "zero") -> Tensor:
    r"""Keep the K largest entries of every sample and replace the others by zero or minus infinity.

    .. math:: x_K = x \odot M

    - :math:`x`: logits or features, usually the teacher's,
    - :math:`M`: see :func:`salient_mask`.

    With all entries kept, ``x`` itself is returned. A zero logit is itself a score and can outrank a negative entry
    that is kept, so the distribution need not become more concentrated, unlike in the paper's Proposition 1: the
    first of the logits (-1, -3, -4) has probability 0.84, but 0.16 after masking to (-1, 0, 0). ``fill="-inf"`` takes
    masked classes out of the softmax, and the proposition holds; the loss must support probabilities of exactly zero.

    Args:
        x: logits (B, C), features (B, c, H, W), or any other (B, ...).
        keep: a fraction in (0, 1] of the entries of a sample, or an int, their number.
        by: ``"value"`` or ``"magnitude"``.
        fill: ``"zero"``, or ``"-inf"`` for logits.

    Returns:
        The shape and type of ``x``; kept entries pass their gradient on.

    Raises:
        ValueError: on another shape or an argument out of range.

    References:
        Efficient Knowledge Distillation via Salient Feature Masking (SFKD), under review, Eq. (5) and Proposition 1.

    Example:
        >>> keep_salient(torch.tensor([[3.0, 5.0, 1.0, 2.0]]), keep=0.5)
        tensor([[3., 5., 0., 0.]])
    """
    check_choice("fill", fill, FILLS)
    count = _checked_count(x, keep, by)
    if fill == "-inf" and x.ndim != 2:
        raise ValueError(f"fill='-inf' is for logits of shape (B, C), found shape {tuple(x.shape)}; use fill='zero'")
    if count == x[0].numel():
        return x
    if fill == "zero" and not x.requires_grad:
        kept = torch.empty_like(x)
        for group, of_kept in _groups(x, kept):
            torch.mul(group, _largest(group, count, by, zeros_count=False), out=of_kept)
        return kept
    mask = salient_mask(x, keep=keep, by=by)
    if fill == "zero":
        return x * mask  # not a masked fill, which branches on every entry
    return x - (mask.to(x.dtype).reciprocal_() - 1)  # 1 / 1 - 1 is 0, and 1 / 0 infinity


def check_salient(*, keep: float | int, by: str = "value", fill: str = "zero") -> None:
    """Raise ``ValueError`` on keywords that :func:`keep_salient` refuses for any tensor."""
    whole = isinstance(keep, int) and not isinstance(keep, bool) and keep >= 1
    if not whole and not (isinstance(keep, float) and 0 < keep <= 1):
        raise ValueError(
            f"keep must be a fraction above 0 and at most 1.0, or a number of entries (an int of at least 1), "
            f"found {keep!r}"
        )
    check_choice("by", by, ORDERS)
    check_choice("fill", fill, FILLS)


def kept_entries(keep: float | int, entries: int) -> int:
    """Return K, the number of entries that ``keep`` means.

    Example:
        >>> kept_entries(0.3, 10), kept_entries(3, 10), kept_entries(0.01, 10), kept_entries(99, 10)
        (3, 3, 1, 10)
    """
    return min(entries, keep if isinstance(keep, int) else max(1, round(keep * entries)))


def _checked_count(x: Tensor, keep: float | int, by: str) -> int:
    """Return K; equal to the number of a sample's entries if all are kept."""
    check_salient(keep=keep, by=by)
    if x.ndim < 2 or not x.numel():
        raise ValueError(f"salient entries are chosen per sample of a tensor (B, ...), found shape {tuple(x.shape)}")
    if not x.is_floating_point():
        raise ValueError(f"salient entries are chosen from floating-point numbers, found {x.dtype}")
    return kept_entries(keep, x[0].numel())


def _groups(x: Tensor, result: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield samples and their place in the result: on the CPU a few at a time, which keeps the buffers small."""
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        yield x, result
        return
    samples = max(1, _ENTRIES_AT_A_TIME // x[0].numel())
    yield from zip(x.split(samples), result.split(samples), strict=True)


def _largest(x: Tensor, count: int, by: str, *, zeros_count: bool = True) -> Tensor:
    """Mark the largest entries; more than ``count`` where the others are zero and those do not count."""
    rows = x.flatten(1).abs() if by == "magnitude" else x.flatten(1)
    threshold = _kth_largest(rows, count)
    if x.device.type == "cpu" and not torch.compiler.is_compiling():
        # Apart from the zeros after a ReLU, ties are rare, and breaking them costs as much as the rest.
        mask = (rows < threshold).logical_not_()
        too_many = mask.sum(1, keepdim=True, dtype=torch.int32) > count
        if not (too_many if zeros_count else too_many.logical_and_(threshold != 0)).any():
            return mask.view(x.shape)
    mask = (rows <= threshold).logical_not_()  # true for NaN
    ties = rows == threshold
    left = count - mask.sum(1, keepdim=True, dtype=torch.int32)
    return mask.logical_or_(_first(ties, left)).view(x.shape)


def _kth_largest(rows: Tensor, k: int) -> Tensor:
    """Return the k-th largest entry of every row, shape (B, 1)."""
    smaller = rows.shape[1] - k
    if rows.device.type == "cpu" and not torch.compiler.is_compiling():
        # On the CPU numpy's vectorised sort is faster than selecting one entry in torch, or in numpy with many ties.
        ordered = rows.to(torch.promote_types(rows.dtype, torch.float32), copy=True)
        ordered.numpy().sort(axis=1)
        return ordered[:, smaller : smaller + 1].to(rows.dtype, copy=True)
    return rows.kthvalue(smaller + 1, dim=1, keepdim=True).values


def _first(ties: Tensor, count: Tensor) -> Tensor:
    """Return a mask of the first ``count`` (B, 1) true entries of every row of ``ties`` (B, N)."""
    batch, entries = ties.shape
    if entries <= _LONGEST_COUNT:
        return (ties.cumsum(1, dtype=torch.int16) <= count).logical_and_(ties)
    # Two levels of counts take no more memory than a half-precision copy.
    padded = F.pad(ties, (0, -entries % _BLOCK)).view(batch, -1, _BLOCK)
    rank = padded.cumsum(2, dtype=torch.int16)
    in_block = rank[:, :, -1].int()
    left = (count - in_block.cumsum(1) + in_block).clamp_(0, _BLOCK).short()
    return (rank <= left.unsqueeze(2)).logical_and_(padded).view(batch, -1)[:, :entries]
