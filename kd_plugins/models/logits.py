"""Selection of the logits from models with several outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from torch import Tensor, nn

ModelT = TypeVar("ModelT", bound=nn.Module)
LogitsKey = str | int
"""Key of a dictionary, name of an attribute, or index in a tuple."""

SHOWN = 8


def give_logits(model: ModelT, logits: LogitsKey) -> ModelT:
    """Make ``model`` return only one of its outputs, in place.

    A forward hook selects it, so module paths and state dict do not change, and a copy works the same. An output that
    is a single tensor, which some models return only in eval mode, does not change. A forward pass without such an
    output raises ``ValueError``.
    """
    if not isinstance(logits, LogitsKey) or isinstance(logits, bool):
        raise ValueError(f"logits must be a key or an index of the model's output, found {logits!r}")
    model.register_forward_hook(_Pick(logits))
    return model


def describe_output(output: Any) -> str:
    """Describe an output that is not logits and, if there are several outputs, how to select the logits."""
    if isinstance(output, Tensor):
        return str(tuple(output.shape))
    found = _listed(output)
    if not _parts(output):
        return found
    return (
        f"{found}; select the logits with the keyword logits (a key or an index) of FrozenTeacher, "
        "frozen_teacher, timm_model or, for a student, model_with_logits"
    )


class _Pick:
    """Forward hook. An object, unlike a closure, can be pickled with its model."""

    def __init__(self, key: LogitsKey) -> None:
        self.key = key

    def __call__(self, module: nn.Module, args: Any, output: Any) -> Any:
        if isinstance(output, Tensor):
            return output
        parts = _parts(output)
        key = self.key
        if isinstance(key, int) and isinstance(output, Sequence):
            key = key + len(output) if key < 0 else key
        if key not in parts:
            raise ValueError(f"logits: {type(module).__name__} has no output {self.key!r}, found {_listed(output)}")
        return parts[key]


def _parts(output: Any) -> dict[Any, Any]:
    """Return the outputs by key, attribute or index."""
    if isinstance(output, Mapping):
        return dict(output)
    if isinstance(output, tuple | list):
        names = getattr(output, "_fields", ())  # of a named tuple
        return {**dict(zip(names, output, strict=False)), **dict(enumerate(output))}
    return {name: value for name, value in getattr(output, "__dict__", {}).items() if not name.startswith("_")}


def _listed(output: Any) -> str:
    kind = type(output).__name__
    shown = [
        f"{key!r} {tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__}"
        for key, value in _parts(output).items()
    ]
    more = f" and {len(shown) - SHOWN} more" if len(shown) > SHOWN else ""
    return f"a {kind} with {', '.join(shown[:SHOWN])}{more}" if shown else kind
