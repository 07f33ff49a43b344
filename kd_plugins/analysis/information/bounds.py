"""Estimates of I(X; F) and I(Y; F) of a frozen feature."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .features import chunks, mean_over_samples
from .heads import Decoder, fitted, mean_loss


@dataclass(frozen=True)
class Data:
    """Images from 0 to 1 and labels, for fitting and for measuring."""

    train_images: Tensor  # shape (N, c, h, w), float32 or float16
    train_labels: Tensor  # shape (N,)
    images: Tensor  # shape (M, c, h, w)
    labels: Tensor  # shape (M,)
    classes: int  # C

    def mean_image_loss(self) -> float:
        """Return R_0, the BCE of the mean training image on the test images, in nats per value of a pixel."""
        guess = mean_over_samples(self.train_images).expand_as(self.images)
        return F.binary_cross_entropy(guess, self.images).item()


@dataclass(frozen=True)
class Information:
    """Estimates of every fit."""

    reconstruction: tuple[float, ...]  # R, BCE of the decoder on the test images
    image: tuple[float, ...]  # R_0 - R, information about the image beyond the mean image, in nats per value of a pixel
    label: tuple[float, ...]  # log C - CE, information about the label in nats; negative if worse than chance


def information(
    train_features: Tensor, features: Tensor, data: Data, *, epochs: int, repeats: int, seed: int
) -> Information:
    """Fit a decoder and a classifier on a feature's training images and measure them on the test images.

    The features (N, k, H, W) and (M, k, H, W) are float32 or float16. There are ``repeats`` fits of at most ``epochs``,
    with the seeds from ``seed`` on.
    """
    pooled = [torch.cat([part.mean((2, 3)) for part in chunks(x)]) for x in (train_features, features)]
    chance = math.log(data.classes)
    size = (data.images.shape[2], data.images.shape[3])
    reconstruction, label = [], []
    for number in range(seed, seed + repeats):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(number)
            decoder: nn.Module = Decoder(features.shape[1], size, data.images.shape[1])
            classifier: nn.Module = nn.Linear(features.shape[1], data.classes)
        bce, ce = F.binary_cross_entropy_with_logits, F.cross_entropy
        decoder = fitted(decoder, train_features, data.train_images, bce, epochs=epochs, seed=number)
        classifier = fitted(classifier, pooled[0], data.train_labels, ce, epochs=epochs, seed=number)
        reconstruction.append(mean_loss(decoder, features, data.images, bce))
        label.append(chance - mean_loss(classifier, pooled[1], data.labels, ce))
    nothing = data.mean_image_loss()
    return Information(tuple(reconstruction), tuple(nothing - loss for loss in reconstruction), tuple(label))


def spread(values: tuple[float, ...] | list[float]) -> float:
    """Return the standard deviation; 0 for a single value."""
    return stdev(values) if len(values) > 1 else 0.0


def choose_keep(sweep: dict[float, list[float]]) -> dict[str, Any]:
    """Return the share to keep by the paper's heuristic, given share -> information of every fit.

    Returns:
        ``chosen``, the smallest share whose information is within one sd of the maximum; ``runner_up``, the next one
        that qualifies, or else the one with the largest information of the others, if any; ``flat``, whether the sweep
        varies by less than two standard deviations; ``sd``, pooled over the sweep.

    Example:
        >>> choose_keep({0.1: [0.1, 0.1], 0.5: [0.29, 0.31], 1.0: [0.3, 0.3]})
        {'chosen': 0.5, 'runner_up': 1.0, 'flat': False, 'sd': 0.008...}
    """
    means = {keep: mean(values) for keep, values in sweep.items()}
    sd = math.sqrt(mean(spread(values) ** 2 for values in sweep.values()))
    top = max(means.values())
    near = sorted(keep for keep, value in means.items() if value >= top - sd)
    others = [keep for keep in means if keep != near[0]]
    second = near[1] if len(near) > 1 else max(others, key=means.__getitem__, default=None)
    return {"chosen": near[0], "runner_up": second, "flat": top - min(means.values()) < 2 * sd, "sd": sd}
