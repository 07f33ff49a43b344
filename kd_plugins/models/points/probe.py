"""Probe runs that capture tensors inside a model and restore its state."""

from __future__ import annotations

import contextlib
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ..teacher_input import input_as_it_is

Place = tuple[str, str]
"""Module path, and ``"input"`` or ``"output"``."""

BATCH = 2


def probe_images(model: nn.Module, input_size: tuple[int, int]) -> Tensor:
    """Return random images for ``model``, on its device and of its dtype; the global random generators are not used."""
    convolution = next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)
    channels = 3 if convolution is None else convolution.in_channels
    images = torch.randn(BATCH, channels, *input_size, generator=torch.Generator().manual_seed(0))
    parameter = next((p for p in model.parameters() if p.is_floating_point()), None)
    return images if parameter is None else images.to(parameter.device, parameter.dtype)


def capture(model: nn.Module, images: Tensor, places: Iterable[Place]) -> dict[Place, Tensor]:
    """Run ``model`` once, in eval mode without gradient, and return the tensors at ``places``.

    A place must exist, be reached exactly once and hold one tensor, which must not be changed in place later, as a hook
    would capture other values.
    """
    kept: dict[Place, list[Any]] = defaultdict(list)
    with still(model) as handles:
        for path, io in places:
            # The version counts in-place writes; an input is recorded before its module can write to it.
            def keep(value: Any, place: Place = (path, io)) -> None:
                kept[place].append((value, getattr(value, "_version", None)))

            handles.append(watch(submodule(model, path), io, keep))
        run(model, images)
    found = {}
    for path, io in places:
        values = kept[path, io]
        if len(values) != 1:
            raise ValueError(
                f"the module {path!r} must be called once per forward pass, found {len(values)} calls: "
                + ("a hook on it would capture only the last one" if values else "a hook on it never fires")
            )
        value, version = values[0]
        if not isinstance(value, Tensor):
            raise ValueError(f"the {io} of {path!r} must be one tensor, found {type(value).__name__}")
        if value._version != version:
            raise ValueError(f"the {io} of {path!r} is changed in place later, so a hook on it captures other values")
        found[path, io] = value
    return found


def watch(module: nn.Module, io: str, keep: Callable[[Any], None]) -> RemovableHandle:
    """Call ``keep`` with the first input, or the output, of every call of ``module``."""
    if io == "input":
        return module.register_forward_pre_hook(lambda _module, args: keep(args[0] if args else None))
    return module.register_forward_hook(lambda _module, _args, output: keep(output))


def paths_returning(model: nn.Module, images: Tensor, forward: Callable[[Tensor], Any]) -> list[str]:
    """Return the paths of the modules whose output is the same object as the result of ``forward``."""
    outputs: dict[str, weakref.ref[Tensor]] = {}
    modules = {path or ".": module for path, module in model.named_modules()}
    with still(model) as handles:
        for path, module in modules.items():

            def keep(output: Any, path: str = path) -> None:
                if isinstance(output, Tensor):
                    # Weak references, because all maps of a large model together need much memory.
                    outputs[path] = weakref.ref(output)

            handles.append(watch(module, "output", keep))
        result = run(model, images, forward)
        return [path for path in modules if path in outputs and outputs[path]() is result]


@contextlib.contextmanager
def still(model: nn.Module) -> Iterator[list[RemovableHandle]]:
    """Keep ``model`` in eval mode without gradient; then restore every mode and remove the hooks in the yielded list.

    A model that prepares its own batches does not do so inside the block, because its parts, run alone, would not.
    """
    modes = {module: module.training for module in model.modules()}
    handles: list[RemovableHandle] = []
    try:
        model.eval()
        with torch.no_grad(), input_as_it_is(model):
            yield handles
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes.items():
            module.training = mode


class CannotRunError(ValueError):
    """A model fails on its input images."""


def run(model: nn.Module, images: Tensor, forward: Callable[[Tensor], Any] | None = None) -> Any:
    """Return the output of ``model``, or of ``forward``, for ``images``; raise ``CannotRunError`` if it fails."""
    try:
        return (forward or model)(images)
    except (RuntimeError, ValueError, TypeError, AssertionError, IndexError) as error:
        raise CannotRunError(
            f"{type(model).__name__} fails on images of shape {tuple(images.shape)}: "
            f"{str(error) or type(error).__name__}; set input_size=(H, W) to the size that it takes"
        ) from error


def submodule(model: nn.Module, path: str) -> nn.Module:
    """Return the module at ``path``, which is ``"."`` for ``model`` itself; raise ``ValueError`` if there is none."""
    try:
        return model if path == "." else model.get_submodule(path)
    except AttributeError as error:
        raise ValueError(f"{type(model).__name__} has no module {path!r}: {error}") from error
