"""Base class of model wrappers that keep the wrapped model's module paths and state dict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import nn
from torchdistill.models.wrapper import AuxiliaryModelWrapper

from .._checks import map_size
from ..models.points.entries import PointEntry, entry_name, resolve_points
from ..models.points.shown import show

POINTS = "points"


class TransparentWrapper(AuxiliaryModelWrapper):
    """Base of wrappers whose module paths and state dict are those of the model inside.

    torchdistill resolves hook paths from the wrapper and saves the wrapper's state dict. With this base class the paths
    in a config need no prefix, and a checkpoint holds only the model.
    """

    inside: ClassVar[str]
    """Name of the attribute that holds the model, as in torchdistill's wrappers."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        setattr(self, self.inside, model)

    def show_points(self, entries: Sequence[PointEntry], *, probe_size: int | Sequence[int] | None = None) -> None:
        """Add a submodule ``points.<name>`` that every forward pass calls with the map of that point."""
        model = getattr(self, self.inside)
        if hasattr(model, POINTS):
            raise ValueError(
                f"points cannot be shown: {type(model).__name__} already has an attribute {POINTS!r}; rename it"
            )
        size = None if probe_size is None else map_size("probe_size", probe_size)
        self.points, self.point_hooks = show(model, resolve_points(model, entries, probe_size=size))

    @classmethod
    def own_paths(cls, kwargs: Mapping[str, Any]) -> dict[str, list[str]]:
        """Return container -> names of the modules that a wrapper built with ``kwargs`` adds to the model's."""
        return {POINTS: [entry_name(entry) for entry in kwargs.get(POINTS) or ()]}

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return the state dict of the model inside, without a prefix."""
        return getattr(self, self.inside).state_dict(*args, **kwargs)

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Load the state dict of the model inside."""
        return getattr(self, self.inside).load_state_dict(state_dict, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            # The model is not set yet while a copy is being built.
            model = self.__dict__.get("_modules", {}).get(self.inside)
            if model is None:
                raise
            return getattr(model, name)
