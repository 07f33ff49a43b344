"""Learning-rate schedules as factors for ``LambdaLR``."""

from __future__ import annotations

import math

from ._checks import check_at_least


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
