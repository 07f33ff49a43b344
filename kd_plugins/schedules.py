"""Learning-rate schedules as factors for ``LambdaLR``."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ._checks import check_at_least, check_whole


class WarmupCosine:
    r"""Linear warm-up, then half a cosine: the factor on the learning rate of each epoch.

    .. math::
        f(e) = \begin{cases}
            s + (1 - s)\,e / w & e < w \\
            m + (1 - m)\,\tfrac12\bigl(1 + \cos(\pi\,e / E)\bigr) & \text{else}
        \end{cases}

    - :math:`e`: epoch from 0, :math:`E`: number of epochs, :math:`w`: epochs of warm-up,
    - :math:`s, m`: first and last learning rate over the base learning rate.

    The cosine runs over all epochs; the warm-up only replaces its beginning, as timm's scheduler does by default.

    Args:
        epochs: E.
        warmup_epochs: w.
        warmup_factor: s.
        final_factor: m.

    Raises:
        ValueError: on a number out of range.

    Example:
        In a config: ``scheduler: {key: LambdaLR, kwargs: {lr_lambda: !import_call {key:
        kd_plugins.schedules.WarmupCosine, init: {kwargs: {epochs: 300, warmup_epochs: 3}}}}}``.

        >>> factor = WarmupCosine(epochs=4, warmup_epochs=1, warmup_factor=0.1, final_factor=0.0)
        >>> [round(factor(epoch), 3) for epoch in range(5)]
        [0.1, 0.854, 0.5, 0.146, 0.0]
    """

    def __init__(
        self, *, epochs: int, warmup_epochs: int = 0, warmup_factor: float = 0.0, final_factor: float = 0.0
    ) -> None:
        check_at_least("epochs", epochs, 1)
        check_at_least("warmup_epochs", warmup_epochs, 0)
        check_at_least("warmup_factor", warmup_factor, 0)
        check_at_least("final_factor", final_factor, 0)
        if warmup_epochs >= epochs:
            raise ValueError(f"warmup_epochs must be below epochs ({epochs}), found {warmup_epochs}")
        self.epochs, self.warmup_epochs = epochs, warmup_epochs
        self.warmup_factor, self.final_factor = warmup_factor, final_factor

    def __call__(self, epoch: int) -> float:
        """Return the factor of an epoch, counted from 0."""
        if epoch < self.warmup_epochs:
            return self.warmup_factor + (1 - self.warmup_factor) * epoch / self.warmup_epochs
        progress = min(epoch / self.epochs, 1.0)
        return self.final_factor + (1 - self.final_factor) * 0.5 * (1 + math.cos(math.pi * progress))


class WarmupSteps:
    r"""Linear warm-up, then a fixed decay at milestones: the factor on the learning rate of each step.

    It is for schedules in steps: ``scheduling_step: 1`` in the ``scheduler`` of a config.

    Args:
        milestones: steps from which the learning rate is lower, in ascending order.
        gamma: factor of each milestone.
        warmup: number of warm-up steps.
        warmup_factor: first learning rate over the base learning rate.

    Raises:
        ValueError: on a number out of range, or milestones in another order.

    Example:
        >>> factor = WarmupSteps(milestones=[4, 6], warmup=2, warmup_factor=0.0)
        >>> [round(factor(step), 3) for step in (0, 1, 2, 3, 4, 6)]
        [0.0, 0.5, 1.0, 1.0, 0.1, 0.01]
    """

    def __init__(
        self, *, milestones: Sequence[int], gamma: float = 0.1, warmup: int = 0, warmup_factor: float = 0.001
    ) -> None:
        for milestone in milestones:
            check_whole("milestones", milestone, 1)
        if list(milestones) != sorted(set(milestones)):
            raise ValueError(f"milestones must be in ascending order, found {list(milestones)}")
        check_at_least("gamma", gamma, 0)
        check_whole("warmup", warmup, 0)
        check_at_least("warmup_factor", warmup_factor, 0)
        self.milestones, self.gamma = list(milestones), gamma
        self.warmup, self.warmup_factor = warmup, warmup_factor

    def __call__(self, step: int) -> float:
        """Return the factor of a step, counted from 0."""
        decay = self.gamma ** sum(step >= milestone for milestone in self.milestones)
        if step >= self.warmup:
            return decay
        return decay * (self.warmup_factor + (1 - self.warmup_factor) * step / self.warmup)
