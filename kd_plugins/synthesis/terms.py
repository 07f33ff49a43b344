"""Terms of the loss of images, in float32."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

JS_TEMPERATURE = 3.0


def total_variation(images: Tensor) -> Tensor:
    """Return how much neighbouring pixels differ: the sum of four Frobenius norms over a whole batch.

    The norms are those of the differences to the right, downwards and along both diagonals.

    Args:
        images: shape (B, c, H, W).

    Returns:
        A scalar. It grows with the square root of B.

    References:
        The public CIFAR-10 script of DeepInversion (l2 form).

    Example:
        >>> total_variation(torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]]))  # sqrt(2) + 0 + 1 + 1
        tensor(3.4142)
    """
    images = images.float()
    right = images[..., :, 1:] - images[..., :, :-1]
    down = images[..., 1:, :] - images[..., :-1, :]
    diagonal = images[..., 1:, 1:] - images[..., :-1, :-1]
    other = images[..., 1:, :-1] - images[..., :-1, 1:]
    # vector_norm has a gradient of 0 at 0.
    return torch.stack([torch.linalg.vector_norm(part) for part in (right, down, diagonal, other)]).sum()


def js_divergence(student: Tensor, teacher: Tensor, temperature: float = JS_TEMPERATURE) -> Tensor:
    """Return the Jensen-Shannon divergence of two models' softened probabilities, averaged over the batch.

    Args:
        student: logits, shape (B, C).
        teacher: logits, shape (B, C).
        temperature: divides both.

    Returns:
        A scalar from 0 (equal) to log 2 (disjoint). Unlike in DeepInversion's code, nothing is clamped.

    Example:
        >>> js_divergence(torch.zeros(2, 3), torch.zeros(2, 3))
        tensor(0.)
    """
    p = F.log_softmax(teacher.float() / temperature, dim=1)
    q = F.log_softmax(student.float() / temperature, dim=1)
    middle = torch.logaddexp(p, q) - math.log(2)
    kl = [F.kl_div(middle, one, reduction="batchmean", log_target=True) for one in (p, q)]
    return 0.5 * (kl[0] + kl[1])
