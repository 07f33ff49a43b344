"""Model wrappers that nobody outside notices: paths and state dict are the wrapped model's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import nn
from torchdistill.models.wrapper import AuxiliaryModelWrapper


class TransparentWrapper(AuxiliaryModelWrapper):
    """Base of wrappers whose module paths and state dict are those of the model inside.

    torchdistill resolves hook paths from the wrapper and saves the wrapper's state dict; with this base a config's
    paths need no prefix, and a checkpoint, whoever writes it, holds the model alone.

    Args:
        model: the model inside.

    Attributes:
        inside: name of the attribute that holds it, torchdistill's own for the side.
    """

    inside: ClassVar[str]

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        setattr(self, self.inside, model)

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
            # Not yet there while a copy is being put together.
            model = self.__dict__.get("_modules", {}).get(self.inside)
            if model is None:
                raise
            return getattr(model, name)
