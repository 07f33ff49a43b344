"""Modules that expose tensors inside a model as maps (B, c, H, W) at their own paths."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ...transforms import class_activation_maps
from .entries import ShownPoint
from .probe import submodule, watch


def show(model: nn.Module, points: Iterable[ShownPoint]) -> tuple[nn.ModuleDict, HookOwner]:
    """Return one module per point that every forward pass of ``model`` calls with the point's map, and a hook owner.

    The modules are identities, whose hooks capture the maps. The hooks on ``model`` exist as long as the owner. A copy
    of an object that holds model, modules and owner is independent.
    """
    shown, handles = nn.ModuleDict(), []
    for point in points:
        shown[point.name] = nn.Identity()
        module = submodule(model, point.path)
        feed = _Feed(point, shown[point.name], None if point.head is None else model.get_submodule(point.head))
        handles.append(
            module.register_forward_pre_hook(feed) if point.io == "input" else module.register_forward_hook(feed)
        )
    return shown, HookOwner(handles)


@contextlib.contextmanager
def collected(shown: nn.ModuleDict, names: Iterable[str]) -> Iterator[dict[str, Tensor]]:
    """Collect the maps of the named modules inside the block."""
    maps: dict[str, Tensor] = {}
    with contextlib.ExitStack() as hooks:
        for name in names:
            hooks.enter_context(watch(shown[name], "output", partial(maps.__setitem__, name)))
        yield maps


class HookOwner:
    """Owner of hooks that removes them on deletion; a deep copy owns the hooks of the copied modules."""

    def __init__(self, handles: list[RemovableHandle]) -> None:
        self.handles = handles

    def __del__(self) -> None:
        for handle in self.__dict__.get("handles", ()):
            handle.remove()


class _Feed:
    """Forward hook. An object, unlike a closure, is deep-copied together with its modules."""

    def __init__(self, point: ShownPoint, shown: nn.Module, head: nn.Module | None) -> None:
        self.point = point
        self.shown = shown
        self.head = head

    def __call__(self, module: nn.Module, args: Any, output: Any = None) -> None:
        tensor = (args[0] if args else None) if self.point.io == "input" else output
        feature_map = self.point.as_map(tensor)
        if self.head is not None:
            feature_map = class_activation_maps(feature_map, self.head.weight.flatten(1))  # type: ignore[operator]
        self.shown(feature_map)
