"""CTKD's learned temperatures, trained with a reversed gradient."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .._checks import check_at_least, check_finite, check_logit_pair, check_positive
from ..transforms.precision import autocast_off, widen


def scale_gradient(x: Tensor, factor: float) -> Tensor:
    """Return ``x``, with its gradient multiplied by ``factor``; a negative one reverses it.

    Example:
        >>> x = torch.tensor(3.0, requires_grad=True)
        >>> scale_gradient(x, -0.5).square().backward()
        >>> x.grad  # 2 * 3 * -0.5
        tensor(-3.)
    """
    return x.detach() + factor * (x - x.detach())  # the difference is 0 and carries the gradient


def cosine_lambda(epoch: float, *, lambda_max: float = 0.0, lambda_min: float = -1.0, loops: float = 10) -> float:
    r"""Return the factor on the temperature's gradient.

    .. math:: \lambda(e) = \tfrac12 \bigl(1 + \cos(\pi \min(e, n) / n)\bigr)
        (\lambda_{max} - \lambda_{min}) + \lambda_{min}

    Epoch e counts from 0; n, the number of ``loops``, is above 0.

    Example:
        >>> [round(cosine_lambda(e), 4) for e in (0, 1, 5, 10, 240)]
        [0.0, -0.0245, -0.5, -1.0, -1.0]
    """
    return (1 + math.cos(math.pi * min(epoch, loops) / loops)) / 2 * (lambda_max - lambda_min) + lambda_min


class _Temperature(nn.Module):
    """Base class of both temperatures: a range, and a reversed gradient that grows with the epochs.

    The first epoch counts as 1 in the cosine, as in the authors' code. Without ``set_epoch``, which
    ``pre_epoch_process: kd_pre_epoch`` calls in a config, the last factor is used.
    """

    def __init__(
        self,
        *,
        initial: float = 1.0,
        low: float = 1.0,
        spread: float = 20.0,
        lambda_max: float = 0.0,
        lambda_min: float = -1.0,
        loops: float = 10,
    ) -> None:
        super().__init__()
        check_finite("initial", initial)
        check_positive("low", low)
        check_positive("spread", spread)
        check_finite("lambda_max", lambda_max)
        check_finite("lambda_min", lambda_min)
        check_positive("loops", loops)
        self.low, self.spread, self.loops = low, spread, loops
        self.lambda_max, self.lambda_min = lambda_max, lambda_min
        self.factor = lambda_min

    def set_epoch(self, epoch: int) -> None:
        """Take the number of the epoch that begins, from 0."""
        self.factor = cosine_lambda(epoch + 1, lambda_max=self.lambda_max, lambda_min=self.lambda_min, loops=self.loops)

    def squashed(self, score: Tensor) -> Tensor:
        """Return the temperature of a score (the P of the formula)."""
        return self.low + self.spread * torch.sigmoid(widen(scale_gradient(score, self.factor)))

    def extra_repr(self) -> str:
        """Return the hyperparameters."""
        names = ("low", "spread", "lambda_max", "lambda_min", "loops")
        return ", ".join(f"{name}={getattr(self, name)}" for name in names)


class GlobalTemperature(_Temperature):
    r"""One learned temperature for all samples.

    .. math:: \tau = \tau_0 + r\,\mathrm{sigmoid}(P)

    - :math:`P`: the parameter, one number, whose gradient is multiplied by :func:`cosine_lambda`,
    - :math:`\tau_0, r`: lowest temperature and range, 1 and 20 as in the authors' code.

    Args:
        initial: first value of P, 1.0 in the authors' code.
        schedule: ``low``, :math:`\tau_0` above 0; ``spread``, r above 0; and the keywords of :func:`cosine_lambda`.

    Raises:
        ValueError: on an argument out of range.

    References:
        Li et al., Curriculum Temperature for Knowledge Distillation, AAAI 2023, Section 3.3 and Eq. (7).

    Example:
        >>> GlobalTemperature()()  # 1 + 20 * sigmoid(1)
        tensor([15.6212], grad_fn=<AddBackward0>)
    """

    def __init__(self, *, initial: float = 1.0, **schedule: float) -> None:
        super().__init__(initial=initial, **schedule)
        self.score = nn.Parameter(torch.tensor([float(initial)]))

    def forward(self) -> Tensor:
        """Return the temperature, shape (1,)."""
        return self.squashed(self.score)


class InstanceTemperature(_Temperature):
    r"""A learned temperature for each sample.

    .. math:: \tau_i = \tau_0 + r\,\mathrm{sigmoid}(f([z_i, v_i]))

    - :math:`z_i, v_i`: student's and teacher's logits of the sample, both without gradient,
    - :math:`f`: two linear layers with a ReLU between them; its gradient is multiplied by :func:`cosine_lambda`,
    - :math:`\tau_0, r`: lowest temperature and range.

    The second layer starts at weight 0 and bias ``initial``, so all samples start at the temperature of
    :class:`GlobalTemperature`; the paper does not say how its network is initialised.

    Args:
        num_classes: C.
        hidden: width between the layers.
        initial: first value of f.
        schedule: as of :class:`GlobalTemperature`.

    Raises:
        ValueError: on an argument out of range.

    References:
        Li et al., Curriculum Temperature for Knowledge Distillation, AAAI 2023, Section 3.3.

    Example:
        >>> InstanceTemperature(num_classes=3)(torch.zeros(2, 3), torch.ones(2, 3)).shape
        torch.Size([2])
    """

    def __init__(self, *, num_classes: int, hidden: int = 128, initial: float = 1.0, **schedule: float) -> None:
        super().__init__(initial=initial, **schedule)
        check_at_least("num_classes", num_classes, 2)
        check_at_least("hidden", hidden, 1)
        self.num_classes = num_classes
        self.inner = nn.Linear(2 * num_classes, hidden)
        self.outer = nn.Linear(hidden, 1)
        nn.init.zeros_(self.outer.weight)
        nn.init.constant_(self.outer.bias, initial)

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the temperatures (B,) of logits (B, C) and (B, C).

        Raises:
            ValueError: unless both hold logits of ``num_classes`` classes.
        """
        check_logit_pair(student, teacher)
        if student.shape[1] != self.num_classes:
            raise ValueError(
                f"num_classes of the temperature is {self.num_classes}, found logits of {student.shape[1]} classes"
            )
        precision = self.inner.weight.dtype
        with autocast_off(student):
            both = torch.cat([student.detach().to(precision), teacher.detach().to(precision)], dim=1)
            return self.squashed(self.outer(torch.relu(self.inner(both))).squeeze(1))
