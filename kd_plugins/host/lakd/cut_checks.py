"""Whether a network can be cut where it is to be cut, found by running it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ...models.points.entries import ShownPoint
from ...models.points.probe import probe_images, run, still, submodule
from .anatomy import Anatomy


@dataclass(frozen=True)
class ProbedModule:
    """What a probe has seen of one module of a cut network.

    Attributes:
        channels: of the map at its end.
        size: height and width of that map.
        kept: bytes a sample that its graph keeps for the backward pass.
    """

    channels: int
    size: tuple[int, int]
    kept: int


def probed_cuts(parts: Anatomy, points: Sequence[ShownPoint]) -> list[ProbedModule]:
    """Return what each module is like, if the network can be cut there.

    The network is run once on two random images, in eval mode and with gradient, each boundary's output replaced by a
    copy without a graph. Then every module may depend on the copy before it and on no other, and no parameter may
    belong to two modules.

    Args:
        parts: of the network.
        points: ends of the modules, in the order of the forward pass.

    Raises:
        ValueError: for a cut that a skip connection bypasses, one outside the forward path, or one out of order; with
            the path and the reason.
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
    # The last boundary is no cut: what the output depends on is what the last module depends on.
    ends = [*watch.ends[:-1], logits]
    entries = [images, *watch.entries]
    parameters = {name: p for name, p in parts.model.named_parameters() if p.requires_grad}
    owner: dict[str, int] = {}
    for number, end in enumerate(ends):
        names, tensors = list(parameters), [*entries, *parameters.values()]
        found = [g is not None for g in torch.autograd.grad(end.sum(), tensors, retain_graph=True, allow_unused=True)]
        reached, own = found[: len(entries)], dict(zip(names, found[len(entries) :], strict=True))
        _check_entries(points, number, reached)
        for name, is_reached in own.items():
            if is_reached and owner.setdefault(name, number) != number:
                raise _bypassed(points[owner[name]].path, f"what comes later still depends on {name!r}, before it")
    _check_last(points[-1], watch, logits)
    maps = [point.as_map(end) for point, end in zip(points, watch.ends, strict=True)]
    return [
        ProbedModule(
            x.shape[1], (x.shape[2], x.shape[3]), sum(size for key, size in kept.items() if key not in outside) // 2
        )
        for x, kept in zip(maps, watch.saved, strict=True)
    ]


class _Watch:
    """What the boundaries of a network give, and what it keeps for the backward pass between them."""

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
                raise _refused(path, f"returns {type(output).__name__}, must be one tensor")
            if not output.requires_grad:
                raise _refused(path, "depends on nothing that could be trained")
            self.ends.append(output)
            if number == len(self.points) - 1:
                return None
            self.saved.append({})
            entry = output.detach().requires_grad_()
            self.entries.append(entry)
            return entry.clone()  # a leaf itself must not be changed in place, as what follows may do

        return watch

    def keep(self, x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        self.saved[-1][storage.data_ptr()] = storage.nbytes()
        self.held.append(x)  # or its address might be used twice
        return x


def _check_order(parts: Anatomy, points: Sequence[ShownPoint]) -> None:
    paths = [point.path for point in points]
    if len(set(paths)) < len(paths):
        raise ValueError(f"cuts must be different modules, found {', '.join(paths)}")
    for point in points:
        calls = parts.calls.get(point.path, 0)
        if calls != 1 or point.io != "output":
            reason = "it lies outside the forward path" if not calls else "a cut must be reached once in a forward pass"
            raise _refused(point.path, f"is called {calls} times; {reason}")
    for before, after in itertools.pairwise(paths):
        if parts.finished[before] > parts.finished[after]:
            raise ValueError(
                f"cuts must be listed in the order of the forward pass: {after!r} comes before {before!r} there"
            )
        if f"{after}.".startswith(f"{before}.") or f"{before}.".startswith(f"{after}."):
            inner, outer = sorted((before, after), key=len, reverse=True)
            if parts.finished[outer] == parts.finished[inner] + 1:
                raise ValueError(f"cuts {before!r} and {after!r} end at one place; leave one of them out")


def _check_entries(points: Sequence[ShownPoint], number: int, reached: Sequence[bool]) -> None:
    place = "the output" if number == len(points) - 1 else repr(points[number].path)
    if number and not reached[number]:
        raise _refused(points[number - 1].path, f"is no way to {place}; it lies outside the forward path")
    for before in range(number):
        if reached[before]:
            path = points[before].path
            begin = "the images" if before == 0 else repr(points[before - 1].path)
            raise _bypassed(path, f"{place} still depends on {begin}, before it")


def _check_last(last: ShownPoint, watch: _Watch, logits: Tensor) -> None:
    used = torch.autograd.grad(logits.sum(), [watch.ends[-1]], retain_graph=True, allow_unused=True)[0]
    if used is None:
        raise _refused(last.path, "is no way to the output; it lies outside the forward path")


def _refused(path: str, reason: str) -> ValueError:
    return ValueError(f"the cut at {path!r} cannot be made: the module {reason}")


def _bypassed(path: str, reason: str) -> ValueError:
    return ValueError(
        f"the cut at {path!r} cannot be made: a skip connection bypasses it ({reason}); cut where the module's output "
        "is the only way forward, as at the end of a block"
    )
