"""Feature points of a timm model, from timm's own metadata."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from .point import CHANNEL_AXIS, FeaturePoint, grids, to_map, verified
from .probe import capture, paths_returning, run, still, submodule

MOST_STAGES = 4


def is_timm_model(model: nn.Module) -> bool:
    """Return whether timm built ``model``."""
    return isinstance(getattr(model, "pretrained_cfg", None), Mapping)


def timm_points(model: nn.Module, images: Tensor) -> list[FeaturePoint]:
    """Return the feature points of a timm model, each verified on ``images``; else raise ``ValueError``."""
    stages = {f"stage{k}": entry for k, entry in enumerate(_stages(model), start=1)}
    places = {name: (entry["module"], "output") for name, entry in stages.items()}
    places["last_map"] = (_last_map_path(model, images, [path for path, _ in places.values()]), "output")
    places |= {"pooled": (_classifier_path(model), "input"), "logits": (".", "output")}
    captured = capture(model, images, set(places.values()))
    final = list(stages.values())[-1]
    width = getattr(model, "num_features", None)
    points = []
    for name, (path, io) in places.items():
        tensor = captured[path, io]
        if name in ("pooled", "logits"):
            layout = "NCHW" if tensor.ndim == 4 else "NC"  # a 1x1 convolution as classifier takes a 1x1 map
            point = FeaturePoint(name, path, io, layout, channels=tensor.shape[1], stride=None)
        else:
            layout = _layout(model, path, tensor)
            entry = stages.get(name, final)
            stride = entry["reduction"]
            prefix = _prefix(model, layout, tensor, images, stride)
            channels = entry["num_chs"] if name in stages else width or tensor.shape[CHANNEL_AXIS[layout]]
            point = FeaturePoint(name, path, io, layout, prefix, channels=channels, stride=stride)
        points.append(verified(point, tensor, images))
    _check_order(model, images, points, captured)
    return points


def _stages(model: nn.Module) -> list[dict[str, Any]]:
    """Return the stages: the ends of the quarters at a single resolution, else the last four maps."""
    info = getattr(model, "feature_info", None)
    known = list(getattr(info, "info", info) or [])
    if not known or not all(isinstance(e, Mapping) and {"module", "num_chs", "reduction"} <= set(e) for e in known):
        raise ValueError("its feature_info names no modules with num_chs and reduction")
    entries = [{**entry, "position": position} for position, entry in enumerate(known)]
    count = len(entries)
    if len({entry["reduction"] for entry in entries}) == 1:
        ends = {math.ceil(count * quarter / MOST_STAGES) - 1 for quarter in range(1, MOST_STAGES + 1)}
        chosen = [entries[end] for end in sorted(ends)]
    else:
        chosen = entries[-MOST_STAGES:]
    paths = [entry["module"] for entry in chosen]
    if len(set(paths)) < len(paths):
        raise ValueError(f"its feature_info names a module for several maps: {', '.join(paths)}")
    for path in paths:
        submodule(model, path)
    return chosen


def _last_map_path(model: nn.Module, images: Tensor, stages: list[str]) -> str:
    """Return the module whose output the head pools: the last stage or a module after it."""
    forward_features = getattr(model, "forward_features", None)
    if forward_features is None:
        raise ValueError("it has no method forward_features, which would return the last map")
    paths = [path for path in paths_returning(model, images, forward_features) if path != "."]
    if not paths:
        raise ValueError("none of its modules returns the last map, the result of forward_features")
    if stages[-1] in paths:
        return stages[-1]
    # A module and its last child return the same tensor; take the outermost.
    return min(paths, key=lambda path: path.count("."))


def _classifier_path(model: nn.Module) -> str:
    name = model.pretrained_cfg.get("classifier")  # type: ignore[union-attr,operator]
    first = name if isinstance(name, str) else (name or [None])[0]
    if not isinstance(first, str) or not first:
        raise ValueError(f"its pretrained_cfg must name the classifier, found {name!r}")
    return first


def _layout(model: nn.Module, path: str, tensor: Tensor) -> str:
    """Return the layout: tokens, or timm's ``output_fmt`` for maps."""
    if tensor.ndim == 3:
        return "NLC"
    if tensor.ndim != 4:
        raise ValueError(f"the output of {path!r} must be a map or tokens, found shape {tuple(tensor.shape)}")
    return str(getattr(model, "output_fmt", None) or "NCHW")


def _prefix(model: nn.Module, layout: str, tensor: Tensor, images: Tensor, stride: int) -> int:
    """Return the declared number of prefix tokens, or 0 if the patches alone fill the grid."""
    # A model that adds its class token after the blocks declares one, although the blocks' outputs have none.
    if layout != "NLC" or any(height * width == tensor.shape[1] for height, width in grids(images, stride)):
        return 0
    return int(getattr(model, "num_prefix_tokens", 0) or 0)


def _check_order(
    model: nn.Module, images: Tensor, points: list[FeaturePoint], captured: Mapping[tuple[str, str], Tensor]
) -> None:
    """Raise unless tokens are in row-major order, by comparison with timm's own maps."""
    positions = {f"stage{k}": entry["position"] for k, entry in enumerate(_stages(model), start=1)}
    tokens = [point for point in points if point.layout == "NLC" and point.name in positions]
    forward_intermediates = getattr(model, "forward_intermediates", None)
    if not tokens or forward_intermediates is None:
        return
    indices = [positions[point.name] for point in tokens]
    forward = partial(forward_intermediates, indices=indices, output_fmt="NCHW", intermediates_only=True)
    with still(model):
        maps = run(model, images, forward)
    for point, expected in zip(tokens, maps, strict=True):
        found = to_map(point, captured[point.path, point.io])
        if found.shape != expected.shape or not torch.allclose(found, expected, rtol=1e-3, atol=1e-4):
            raise ValueError(f"the tokens of {point.path!r} are not in row-major order")
