"""Centred kernel alignment (CKA) of two layers, over all samples or per batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..transforms.precision import autocast_off, widen

FEWEST = 4
"""Least number of samples of the unbiased estimator."""


def linear_cka(x: Tensor, y: Tensor) -> Tensor:
    r"""Linear centred kernel alignment of two layers.

    .. math:: \mathrm{CKA} = \frac{\lVert Y^\top X \rVert_F^2}{\lVert X^\top X \rVert_F \lVert Y^\top Y \rVert_F}

    - :math:`X, Y`: features of the same n samples, each column centred.

    It is invariant to rotation, scaling and shift of either layer. Gram matrices of the samples replace those of the
    features, which gives the same value from n x n numbers for layers of any width.

    Args:
        x: shape (n, ...); all dimensions but the first are flattened.
        y: shape (n, ...).

    Returns:
        Scalar from 0 to 1; NaN if a layer is constant over the samples.

    Raises:
        ValueError: unless both have the same number of samples, at least two.

    References:
        Kornblith et al., Similarity of Neural Network Representations Revisited, ICML 2019, Section 3.

    Example:
        >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
        >>> linear_cka(x, 3 * x.flip(1) + 1)
        tensor(1.)
    """
    k, m = gram(x), gram(y)
    if len(k) != len(m) or len(k) < 2:
        raise ValueError(
            f"linear_cka needs at least two samples and equal numbers of both, found {len(k)} and {len(m)}"
        )
    return (k * m).sum() / (k.norm() * m.norm())


def gram(features: Tensor) -> Tensor:
    """Return the Gram matrix of the samples, with features centred over the samples, shape (n, n).

    Args:
        features: shape (n, ...).

    Raises:
        ValueError: unless the features are floating-point numbers.
    """
    if features.ndim < 2 or not features.is_floating_point():
        raise ValueError(
            f"features must be floating-point, shape (n, ...), found {features.dtype} of shape {tuple(features.shape)}"
        )
    with autocast_off(features):
        x = widen(features.detach()).flatten(1)
        x = x - x.mean(0)
        return x @ x.T


class MinibatchCKA:
    r"""Linear CKA of every layer of one model with every layer of another, from batches.

    .. math::
        \mathrm{CKA} = \frac{\sum_b H(K_b, M_b)}{\sqrt{\sum_b H(K_b, K_b)} \sqrt{\sum_b H(M_b, M_b)}}, \quad
        H(K, M) = \frac{1}{n (n - 3)} \Bigl( \operatorname{tr}(\tilde K \tilde M) +
            \frac{1^\top \tilde K 1 \; 1^\top \tilde M 1}{(n - 1)(n - 2)} -
            \frac{2}{n - 2} 1^\top \tilde K \tilde M 1 \Bigr)

    - :math:`K_b, M_b`: Gram matrices of the n samples of batch b in a layer; the tilde sets the diagonal to 0.

    H is the unbiased estimator of HSIC, so the batch size does not bias the result. With few samples, it is noisy and
    may lie slightly outside 0 to 1. Batches of fewer than four samples are ignored.

    References:
        Nguyen, Raghu, Kornblith, Do Wide and Deep Networks Learn the Same Things?, ICLR 2021, Eq. (3) and (4).

    Example:
        >>> cka = MinibatchCKA()
        >>> x = torch.randn(2, 8, 5, generator=torch.Generator().manual_seed(0))
        >>> for batch in x:
        ...     cka.update([gram(batch)], [gram(2 * batch), gram(batch[:, :2])])
        >>> cka.value().shape, round(cka.value()[0, 0].item(), 4)
        (torch.Size([1, 2]), 1.0)
    """

    def __init__(self) -> None:
        self._sums: tuple[Tensor, Tensor, Tensor] | None = None

    def update(self, grams: Sequence[Tensor], other_grams: Sequence[Tensor]) -> None:
        """Add a batch, given the Gram matrices of the same samples in each layer, see :func:`gram`.

        Raises:
            ValueError: unless all have the same number of samples.
        """
        shapes = {tuple(x.shape) for x in (*grams, *other_grams)}
        if len(shapes) != 1 or not grams or not other_grams:
            raise ValueError(f"every layer must have the same samples, found Gram matrices of shapes {sorted(shapes)}")
        if len(grams[0]) < FEWEST:
            return
        k, m = (_without_diagonal(torch.stack(list(x))) for x in (grams, other_grams))
        found = (_hsic(k, m), _hsic(k, k).diagonal(), _hsic(m, m).diagonal())
        before = self._sums or tuple(torch.zeros_like(x) for x in found)
        self._sums = tuple(a + b for a, b in zip(before, found, strict=True))  # type: ignore[assignment]

    def value(self) -> Tensor:
        """Return CKA as float64, shape (layers, other layers); NaN for a constant layer.

        Raises:
            ValueError: before a batch of at least four samples.
        """
        if self._sums is None:
            raise ValueError(f"CKA needs a batch of at least {FEWEST} samples")
        both, own, other = self._sums
        return both / (own.clamp(min=0).sqrt()[:, None] * other.clamp(min=0).sqrt()[None])


def _without_diagonal(grams: Tensor) -> Tensor:
    return grams.double() * (1 - torch.eye(grams.shape[1], dtype=torch.float64, device=grams.device))


def _hsic(k: Tensor, m: Tensor) -> Tensor:
    """Return the unbiased HSIC of (L, n, n) with (L', n, n), both without diagonal, shape (L, L')."""
    n = k.shape[1]
    k_rows, m_rows = k.sum(2), m.sum(2)
    trace = k.flatten(1) @ m.flatten(1).T
    whole = k_rows.sum(1)[:, None] * m_rows.sum(1)[None] / ((n - 1) * (n - 2))
    cross = 2 / (n - 2) * (k_rows @ m_rows.T)
    return (trace + whole - cross) / (n * (n - 3))
