"""Access to torchdistill's io dicts, with errors that name the missing config line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..._checks import nearest

IO_TYPES = ("input", "output")
MODEL_OUTPUT = "."

IODict = Mapping[str, Mapping[str, Any]]


def captured(io_dict: IODict, side: str, module_path: str, io: str) -> Any:
    """Return what hooks captured at a module path, of torchdistill's ``{path: {io: value}}``; else ``ValueError``."""
    entry = io_dict.get(module_path)
    if entry is not None and io in entry:
        return entry[io]
    if not io_dict:
        raise ValueError(
            f"the loss reads the {side}'s {module_path!r} {io}, but this run has no {side}; "
            f"add models.{side}_model and train.{side} to the config"
        )
    there = sorted(f"{path!r} {kind}" for path, kinds in io_dict.items() for kind in kinds)
    near = nearest(module_path, [path for path in io_dict if path != MODEL_OUTPUT], count=1)
    hint = f" (did you mean {near[0]!r}?)" if near and near[0] != module_path else ""
    raise ValueError(
        f"the {side}'s {module_path!r} {io} was not captured{hint}; captured: {', '.join(there) or 'nothing'}. "
        f"Hook it in the config: train.{side}.forward_hook.{io}: [{module_path}]"
    )


def captured_tensor(io_dict: IODict, side: str, module_path: str, io: str) -> Tensor:
    """Return the tensor captured at a module path; raise ``ValueError`` on anything else."""
    value = captured(io_dict, side, module_path, io)
    if not isinstance(value, Tensor):
        raise ValueError(
            f"the {side}'s {module_path!r} {io} must be a tensor, found {type(value).__name__}; "
            f"set {side}_module_path to a module whose {io} is one tensor"
        )
    return value
