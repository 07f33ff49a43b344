"""KL divergence of the logit losses."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..transforms.precision import autocast_off
from ._once import refuse_second_derivative


class _KLToFixedTarget(torch.autograd.Function):
    """Batch mean of KL(softmax(v / d) || softmax(z / d)) times a factor, with gradient for z alone.

    The gradient is (softmax(z / d) - softmax(v / d)) * factor / (d B); the forward pass has both terms. In ordinary
    operations soft_target_loss takes 1.17 times as long and keeps twice as much (logits (512, 1000), CPU).
    """

    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor, divisor: float, factor: float, twice: bool) -> Tensor:
        log_teacher = teacher if divisor == 1 else teacher / divisor
        target = F.softmax(log_teacher, dim=1)  # an exponential of logarithms is ten times slower where it is 0
        log_teacher = F.log_softmax(log_teacher, dim=1)
        log_teacher.clamp_(min=torch.finfo(log_teacher.dtype).min)  # of a masked class, as 0 * -inf would be NaN
        log_student = F.log_softmax(student if divisor == 1 else student / divisor, dim=1)
        rows = torch.linalg.vecdot(target, log_teacher.sub_(log_student))
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(log_student.exp_().sub_(target), *((student, teacher) if twice else ()))
            ctx.divisor, ctx.scale = divisor, factor / (divisor * len(student))
        return rows.mean() * factor

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        difference, *inputs = ctx.saved_tensors
        if not inputs:
            refuse_second_derivative()
        elif torch.is_grad_enabled():  # double backward: the kept difference has no graph
            student, teacher = inputs
            difference = F.softmax(student / ctx.divisor, dim=1) - F.softmax(teacher / ctx.divisor, dim=1)
        return difference * (gradient * ctx.scale), None, None, None, None, None


def softened_kl(
    student: Tensor, teacher: Tensor, temperature: float | Tensor, *, divisor: float = 1.0, twice: bool = False
) -> Tensor:
    r"""Return the batch mean of :math:`\tau^2\,\mathrm{KL}(\mathrm{softmax}(v / d) \| \mathrm{softmax}(z / d))`.

    It is exactly 0 if both sides are equal. With a fixed temperature and a teacher without gradient, a teacher's logit
    may be minus infinity, a class of probability 0.

    The logits z and v are (B, C), float32 or float64; v gets a gradient if it requires one, as under a learned
    temperature. Of the temperature, a number or (1, 1) or (B, 1), only the square is used. The divisor d is 1 if both
    sides are already softened. ``twice`` supports a second derivative, which keeps both inputs in memory.
    """
    with autocast_off(student):
        if not isinstance(temperature, Tensor) and not teacher.requires_grad:
            return _KLToFixedTarget.apply(student, teacher, divisor, temperature**2, twice)
        log_student = F.log_softmax(student / divisor, dim=1)
        log_teacher = F.log_softmax(teacher / divisor, dim=1)
        # Student minus teacher, so that its gradient needs no (B, C) negation; 0 - x, as -x could be -0.
        rows = 0 - torch.linalg.vecdot(log_teacher.exp(), log_student - log_teacher)
        return (rows.unsqueeze(1) * temperature**2).mean()
