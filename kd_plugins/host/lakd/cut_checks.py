"""Checks, by a probe run, that a network can be cut at the given points."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ...models.points.entries import ShownPoint
from ...models.points.probe import probe_images, run, still, submodule
from .anatomy import Anatomy


class ProbedModule(NamedTuple):
    """Channels of a module's last map, and the bytes per sample that its graph keeps for the backward pass."""

    channels: int
    kept: int


def probed_cuts(parts: Anatomy, points: Sequence[ShownPoint]) -> list[ProbedModule]:
    """Check that the network can be cut at the points; return a probe result per module.

    The network runs once on two random images, in eval mode with gradients enabled. A detached copy replaces the output
    at each boundary. Every module may then depend only on the copy just before it, and no parameter may belong to two
    modules: a skip connection around a cut, or a cut outside the forward path or out of order, raises ``ValueError``.
    """
    _check_order(parts, points)
    watch = _Watch(points)
    images = probe_images(parts.model, parts.size).requires_grad_()
    outside = {p.untyped_storage().data_ptr() for p in (*parts.model.parameters(), *parts.model.buffers())}
    outside.add(images.untyped_storage().data_ptr())
    with still(parts.model) as handles, torch.enable_grad():
        for number, point in enumerate(points):
            handles.append(submodule(parts.model, point.path).register_forward_hook(watch.hook(number)))
        with torch.autograd.graph.saved_tensors_hooks(watch.keep, lambda x: x):
            output = run(parts.model, images)
    logits = next((leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)), None)
    if logits is None or not logits.requires_grad:
        raise ValueError(f"{type(parts.model).__name__} returns no tensor with a gradient")
    # The last boundary is not a cut, so the last module's end is the model's output.
    ends = [*watch.ends[:-1], logits]
    entries = [images, *watch.entries]
    parameters = {name: p for name, p in parts.model.named_parameters() if p.requires_grad}
    owner: dict[str, int] = {}
    for number, end in enumerate(ends):
        tensors = [*entries, *parameters.values()]
        found = [g is not None for g in torch.autograd.grad(end.sum(), tensors, retain_graph=True, allow_unused=True)]
        _check_entries(points, number, found[: len(entries)])
        for name, is_reached in zip(parameters, found[len(entries) :], strict=True):
            if is_reached and owner.setdefault(name, number) != number:
                raise _bypassed(points[owner[name]].path, f"a later module still depends on {name!r}, before the cut")
    used = torch.autograd.grad(logits.sum(), [watch.ends[-1]], retain_graph=True, allow_unused=True)[0]
    if used is None:
        raise _refused(points[-1].path, "does not lead to the output; it is not in the forward path")
    maps = [point.as_map(end) for point, end in zip(points, watch.ends, strict=True)]
    return [
        ProbedModule(x.shape[1], sum(size for key, size in kept.items() if key not in outside) // 2)
        for x, kept in zip(maps, watch.saved, strict=True)
    ]


class _Watch:
    """Outputs at the boundaries of a network, and the tensors saved for backward between them."""

    def __init__(self, points: Sequence[ShownPoint]) -> None:
        self.points = points
        self.ends: list[Tensor] = []
        self.entries: list[Tensor] = []
        self.saved: list[dict[int, int]] = [{}]
        self.held: list[Tensor] = []

    def hook(self, number: int) -> Any:
        def watch(_module: nn.Module, _inputs: Any, output: Any) -> Tensor | None:
            path = self.points[number].path
            if not isinstance(output, Tensor):
                raise _refused(path, f"must return one tensor, returns {type(output).__name__}")
            if not output.requires_grad:
                raise _refused(path, "does not depend on any trainable parameter")
            self.ends.append(output)
            if number == len(self.points) - 1:
                return None
            self.saved.append({})
            entry = output.detach().requires_grad_()
            self.entries.append(entry)
            return entry.clone()  # later layers may work in place, which a leaf does not allow

        return watch

    def keep(self, x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        self.saved[-1][storage.data_ptr()] = storage.nbytes()
        self.held.append(x)  # keep it alive, so that its address is not reused
        return x


def _check_order(parts: Anatomy, points: Sequence[ShownPoint]) -> None:
    paths = [point.path for point in points]
    if len(set(paths)) < len(paths):
        raise ValueError(f"cuts must be different modules, found {', '.join(paths)}")
    for point in points:
        calls = parts.calls.get(point.path, 0)
        if calls != 1 or point.io != "output":
            reason = (
                "it is not in the forward path" if not calls else "a cut must be reached exactly once per forward pass"
            )
            raise _refused(point.path, f"is called {calls} times; {reason}")
    for before, after in itertools.pairwise(paths):
        if parts.finished[before] > parts.finished[after]:
            raise ValueError(
                f"cuts must be in the order of the forward pass, but {after!r} runs before {before!r}; swap them"
            )
        if f"{after}.".startswith(f"{before}.") or f"{before}.".startswith(f"{after}."):
            inner, outer = sorted((before, after), key=len, reverse=True)
            if parts.finished[outer] == parts.finished[inner] + 1:
                raise ValueError(f"cuts {before!r} and {after!r} end at the same place; remove one of them")


def _check_entries(points: Sequence[ShownPoint], number: int, reached: Sequence[bool]) -> None:
    place = "the output" if number == len(points) - 1 else repr(points[number].path)
    if number and not reached[number]:
        raise _refused(points[number - 1].path, f"does not lead to {place}; it is not in the forward path")
    for before in range(number):
        if reached[before]:
            path = points[before].path
            begin = "the images" if before == 0 else repr(points[before - 1].path)
            raise _bypassed(path, f"{place} still depends on {begin}, before the cut")


def _refused(path: str, reason: str) -> ValueError:
    return ValueError(f"the cut at {path!r} cannot be made: the module {reason}")


def _bypassed(path: str, reason: str) -> ValueError:
    return ValueError(
        f"the cut at {path!r} cannot be made: a skip connection bypasses it ({reason}); cut where no skip connection "
        "passes, such as at the end of a block"
    )
