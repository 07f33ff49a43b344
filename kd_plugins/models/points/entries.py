"""Config entries for tensors inside a model: names of feature points, or module paths with a layout."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ..._checks import check_choice, check_keywords, check_whole, map_size, nearest
from ...transforms.feature_map import LAYOUTS, to_feature_map
from .names import feature_points, image_size
from .point import IOS, FeaturePoint, to_map
from .probe import CannotRunError, submodule

CLASS_MAPS = "class_maps"
ENTRY_KEYS = ("name", "path", "io", "layout", "prefix_tokens", "grid")
RAW_EXAMPLE = "{name: mid, path: blocks.5, io: output, layout: NLC, prefix_tokens: 1}"
MOST_PREFIX_TOKENS = 8

PointEntry = str | Mapping[str, Any]
"""A feature point's name, or a mapping that describes a module's tensor."""


@dataclass(frozen=True)
class ShownPoint:
    """A tensor of a model to expose as a map, described as a :class:`FeaturePoint` is."""

    name: str  # under points
    path: str
    io: str
    layout: str
    prefix_tokens: int = 0
    grid: tuple[int, int] | None = None
    declared: FeaturePoint | None = None  # None for a raw path
    head: str | None = None  # path of the linear classifier whose weight is applied to the map, for class maps

    def as_map(self, tensor: Any) -> Tensor:
        """Return the captured tensor as a map (B, c, H, W), without applying ``head``; else raise ``ValueError``."""
        if not isinstance(tensor, Tensor):
            raise ValueError(
                f"the point {self.name!r} must be one tensor, found {type(tensor).__name__} as the {self.io} of "
                f"{self.path!r}; use another module, or its {'input' if self.io == 'output' else 'output'}"
            )
        try:
            if self.declared is not None:
                return to_map(self.declared, tensor)
            return to_feature_map(tensor, layout=self.layout, prefix_tokens=self.prefix_tokens, grid=self.grid)
        except ValueError as error:
            raise ValueError(
                f"the point {self.name!r} ({self.path} {self.io}) of shape {tuple(tensor.shape)} does not fit its "
                f"declared layout: {error}. In the entry {self.name!r} of the wrapper's kwargs {_advice(self, tensor)}"
            ) from error


def shown_point(point: FeaturePoint) -> ShownPoint:
    """Return a declared feature point to expose as a map."""
    return ShownPoint(point.name, point.path, point.io, point.layout, point.prefix_tokens, point.grid, declared=point)


def entry_name(entry: PointEntry) -> str:
    """Return the name of an entry of ``points``; raise ``ValueError`` if it cannot be part of a path."""
    name = entry.get("name") if isinstance(entry, Mapping) else entry
    if not isinstance(name, str) or not name:
        raise ValueError(
            f"points must contain names of feature points, or mappings such as {RAW_EXAMPLE}, found {entry!r}"
        )
    if "." in name or hasattr(nn.ModuleDict(), name):
        raise ValueError(f"the name of a point must be a plain word that nn.ModuleDict does not use, found {name!r}")
    return name


def resolve_points(
    model: nn.Module, entries: Sequence[PointEntry], *, probe_size: int | Sequence[int] | None = None
) -> list[ShownPoint]:
    """Resolve the entries of ``points`` in a model.

    An entry is the name of a feature point; ``"class_maps"``, the classifier's weight applied to the last map; or, for
    the tensor of any module, a mapping with ``name``, ``path``, ``layout`` and, if needed, ``io``, ``prefix_tokens``
    and ``grid``. ``probe_size`` is the images' height and width, or one number, where they are not the model's own.
    An invalid entry, or a point that the model lacks, raises ``ValueError``.

    Example:
        >>> from kd_plugins.models import CIFAR_MODELS
        >>> model = CIFAR_MODELS["cifar_resnet8"]()
        >>> raw = {"name": "stem", "path": "conv1", "layout": "NCHW"}
        >>> [(point.name, point.path) for point in resolve_points(model, ["stage2", raw])]
        [('stage2', 'layer2'), ('stem', 'conv1')]
    """
    if isinstance(entries, (str, Mapping)) or not isinstance(entries, Sequence):
        raise ValueError(f"points must be a list, such as [stage3, last_map], found {entries!r}")
    names = [entry_name(entry) for entry in entries]
    if len(set(names)) < len(names):
        raise ValueError(f"points must have different names, found {', '.join(names)}")
    known = _known(model, probe_size) if any(isinstance(entry, str) for entry in entries) else {}
    return [_raw(model, entry) if isinstance(entry, Mapping) else _named(model, entry, known) for entry in entries]


def _known(model: nn.Module, probe_size: int | Sequence[int] | None) -> dict[str, FeaturePoint]:
    try:
        size = image_size(model, probe_size) if probe_size is not None else None
        return {point.name: point for point in feature_points(model, input_size=size)}
    except CannotRunError as error:
        raise ValueError(
            f"the feature points of {type(model).__name__} cannot be found: {error} (in a config: probe_size, beside "
            "points)"
        ) from error
    except ValueError as error:
        raise ValueError(f"{error}; in a config, points also takes raw paths, such as {RAW_EXAMPLE}") from error


def _named(model: nn.Module, name: str, known: Mapping[str, FeaturePoint]) -> ShownPoint:
    if name == CLASS_MAPS:
        return _class_maps(model, known)
    if name not in known:
        choices = [*known, CLASS_MAPS]
        near = nearest(name, choices)
        hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
        raise ValueError(
            f"{type(model).__name__} has no feature point {name!r}; {hint}It has: {', '.join(choices)}. "
            f"A raw path is written {RAW_EXAMPLE}"
        )
    return shown_point(known[name])


def _class_maps(model: nn.Module, known: Mapping[str, FeaturePoint]) -> ShownPoint:
    """Return the last map with the classifier to apply to it."""
    last, pooled = known.get("last_map"), known.get("pooled")
    if last is None or pooled is None:
        missing = "last_map" if last is None else "pooled"
        raise ValueError(f"{CLASS_MAPS} needs the feature point {missing!r}, which {type(model).__name__} lacks")
    head = submodule(model, pooled.path)
    reason = ""
    if not is_linear(head) or pooled.io != "input":
        reason = f"its classifier {pooled.path!r} is {type(head).__name__}, not one linear layer"
    elif hasattr(model, "head_dist"):
        reason = "its logits are the mean of two heads, 'head' and 'head_dist', on two tokens"
    elif head.weight.shape[1] != last.channels:  # type: ignore[index]
        reason = (
            f"its classifier {pooled.path!r} takes {head.weight.shape[1]} features, found {last.channels} channels in "  # type: ignore[index]
            f"the last map {last.path!r}: other layers with weights come between pooling and classifier"
        )
    if reason:
        raise ValueError(f"{type(model).__name__} has no {CLASS_MAPS}: {reason}")
    shown = _named(model, "last_map", known)
    return dataclasses.replace(shown, name=CLASS_MAPS, head=pooled.path)


def is_linear(module: nn.Module) -> bool:
    """Return whether a module is a linear layer or an equivalent 1x1 convolution."""
    return isinstance(module, nn.Linear) or (
        isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.groups == 1
    )


def _raw(model: nn.Module, entry: Mapping[str, Any]) -> ShownPoint:
    name = entry_name(entry)
    check_keywords(f"the point {name!r}", entry, ENTRY_KEYS)
    for key in ("path", "layout"):
        if not entry.get(key):
            raise ValueError(f"the point {name!r} needs {key!r}, as in {RAW_EXAMPLE}")
    path = str(entry["path"])
    paths = [known for known, _ in model.named_modules() if known]
    if path != "." and path not in paths:
        near = nearest(path, paths)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "it has: " + ", ".join(paths[:12])
        raise ValueError(f"the point {name!r}: {type(model).__name__} has no module {path!r}; {hint}")
    io, layout = entry.get("io", "output"), entry["layout"]
    check_choice(f"io of the point {name!r}", io, IOS)
    check_choice(f"layout of the point {name!r}", layout, LAYOUTS)
    prefix, grid = entry.get("prefix_tokens", 0), entry.get("grid")
    check_whole(f"prefix_tokens of the point {name!r}", prefix, 0)
    if (prefix or grid is not None) and layout != "NLC":
        raise ValueError(f"prefix_tokens and grid of the point {name!r} are for layout NLC, found layout {layout}")
    size = None if grid is None else map_size(f"grid of the point {name!r}", grid)
    return ShownPoint(name, path, io, layout, prefix, size)


def _advice(point: ShownPoint, tensor: Tensor) -> str:
    """Return which key of an entry to change so that ``tensor`` fits."""
    if tensor.ndim != LAYOUTS[point.layout]:
        fitting = [name for name, ndim in LAYOUTS.items() if ndim == tensor.ndim]
        return f"give layout: {' or '.join(fitting)}" if fitting else "name the path of another module"
    if point.layout != "NLC":
        return "give the layout that the tensor has"
    count = tensor.shape[1]
    prefixes = [p for p in range(min(MOST_PREFIX_TOKENS, count)) if math.isqrt(count - p) ** 2 == count - p]
    squares = [f"prefix_tokens: {p} leaves {math.isqrt(count - p)} x {math.isqrt(count - p)} patches" for p in prefixes]
    return "; ".join(["give prefix_tokens and grid: [H, W] that fill the tokens", *squares])
