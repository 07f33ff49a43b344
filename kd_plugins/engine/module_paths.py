"""Check that the module paths of a config lead to modules of its models."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

from .._checks import nearest
from .config import ConfigError


def check_module_paths(model: nn.Module, paths: Iterable[str], *, what: str, where: str) -> None:
    """Raise :class:`ConfigError` unless every path leads to a module (or parameter) of ``model``.

    Args:
        model: the model that the paths start from.
        paths: module paths such as ``"layer3.0"``; negative list indices are torchdistill's way to count back.
        what: ``"student"`` or ``"teacher"``.
        where: the place in the config.
    """
    names = [name for name, _ in model.named_modules() if name]
    for path in paths:
        if path in names or path.startswith("+") or _reachable(model, path):
            continue
        near = nearest(path, names)
        depth = path.count(".")
        same_level = [n for n in names if n.count(".") <= depth]
        offer = ", ".join(map(repr, near)) if near else ", ".join(map(repr, same_level[:12]))
        raise ConfigError(f"the {what} has no module {path!r} at {where}; its nearest paths are {offer}")


def _reachable(model: nn.Module, path: str) -> bool:
    found: Any = model
    for name in path.split("."):
        if name.lstrip("-").isdigit() and isinstance(found, (nn.Sequential, nn.ModuleList)):
            index = int(name)
            if not -len(found) <= index < len(found):
                return False
            found = found[index]
        elif hasattr(found, name):
            found = getattr(found, name)
        else:
            return False
    return True
