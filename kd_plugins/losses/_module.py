"""Base of the losses' module forms."""

from __future__ import annotations

from typing import Any

from torch import nn


class LossModule(nn.Module):
    """Hold the hyperparameters of a loss as attributes of their names."""

    def __init__(self, **hyperparameters: Any) -> None:
        super().__init__()
        self._names = tuple(hyperparameters)
        for name, value in hyperparameters.items():
            setattr(self, name, value)

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """Name -> current value."""
        return {name: getattr(self, name) for name in self._names}

    def extra_repr(self) -> str:
        """Return the hyperparameters."""
        return ", ".join(f"{name}={value!r}" for name, value in self.hyperparameters.items())
