"""The Kullback-Leibler divergence that logit losses share."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..transforms.precision import autocast_off


def softened_kl(student: Tensor, teacher: Tensor, temperature: float | Tensor) -> Tensor:
    r"""Return the batch mean of :math:`\tau^2\,\mathrm{KL}(\mathrm{softmax}(v) \| \mathrm{softmax}(z))`.

    Exactly 0 where both sides are equal. The dot product does in one pass what ``kl_div`` and a sum do in
    several.

    Args:
        student: z, already softened, shape (B, C), float32 or float64.
        teacher: v, likewise.
        temperature: a number, or shape (1, 1) or (B, 1); only its square enters here.

    Returns:
        Scalar.
    """
    with autocast_off(student):
        log_student, log_teacher = F.log_softmax(student, dim=1), F.log_softmax(teacher, dim=1)
        # Student minus teacher, so that its gradient needs no (B, C) negation; 0 - x, as -x could be -0.
        rows = 0 - torch.linalg.vecdot(log_teacher.exp(), log_student - log_teacher)
        return (rows.unsqueeze(1) * temperature**2).mean()
