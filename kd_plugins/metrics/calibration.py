"""Negative log-likelihood and expected calibration error, summed batch by batch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

BINS = 15


def calibration_sums(logits: Tensor, labels: Tensor) -> Tensor:
    r"""Return what a batch adds to the negative log-likelihood and the expected calibration error.

    The sums of all batches, given to :func:`calibration`, are the measures of the whole set. Nothing waits for the
    device. A label outside the classes counts as the nearest class. Logits that are not finite make both measures NaN.

    Args:
        logits: shape (B, C).
        labels: class indices, shape (B,).

    Returns:
        float64, shape (4, 15): for each bin of the confidence :math:`((m - 1) / 15, m / 15]`, the number of samples,
        the sum of their confidences, of their hits, and of their negative log-likelihoods in nats.
    """
    log_probabilities = logits.double().log_softmax(dim=1)
    confidence, predicted = log_probabilities.exp().max(dim=1)
    nll = F.nll_loss(log_probabilities, labels.clamp(0, logits.shape[1] - 1), reduction="none")
    bins = ((confidence.nan_to_num() * BINS).ceil() - 1).clamp(0, BINS - 1).long()
    values = torch.stack([torch.ones_like(confidence), confidence, (predicted == labels).double(), nll])
    return values @ F.one_hot(bins, BINS).double()


def calibration(sums: Tensor) -> dict[str, float]:
    r"""Return ``nll`` in nats and ``ece`` in percent from the sums of all batches.

    .. math:: \mathrm{ECE} = \sum_{m=1}^{15} \frac{|B_m|}{n} \left| \mathrm{acc}(B_m) - \mathrm{conf}(B_m) \right|

    Args:
        sums: shape (4, 15), summed over batches of :func:`calibration_sums`.

    References:
        Guo et al., On Calibration of Modern Neural Networks, ICML 2017, equation 3.

    Example:
        >>> logits = torch.tensor([[0.0, 1.0986], [0.0, 1.0986]])  # a confidence of 0.75, one hit and one miss
        >>> found = calibration(calibration_sums(logits, torch.tensor([1, 0])))
        >>> round(found["nll"], 2), round(found["ece"], 2)
        (0.84, 25.0)
    """
    count, confidence, hits, nll = sums.double()
    samples = count.sum()
    return {"nll": float(nll.sum() / samples), "ece": float(100 * (hits - confidence).abs().sum() / samples)}
