"""Feature points: a named tensor in a model, its layout, and its conversion to a feature map."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from torch import Tensor

from ..._checks import check_choice, check_whole
from ...transforms.feature_map import LAYOUTS, to_feature_map

IOS = ("input", "output")
CHANNEL_AXIS = {"NCHW": 1, "NHWC": 3, "NLC": 2, "NC": 1}


@dataclass(frozen=True)
class FeaturePoint:
    """A named tensor of a model, and its layout.

    Attributes:
        name: such as ``"stage1"``, ``"last_map"``, ``"pooled"`` or ``"logits"``.
        path: path of the module to hook; ``"."`` is the model itself.
        io: whether the tensor is that module's ``"input"`` or its ``"output"``.
        layout: ``"NCHW"``, ``"NHWC"``, ``"NLC"`` (tokens) or ``"NC"`` (a vector).
        prefix_tokens: class and other tokens before the patches, ``NLC`` only.
        channels: number of channels.
        stride: image pixels per position of the map; None for a vector, even as a 1x1 map.
        grid: (H, W) of the patches, ``NLC`` only; filled in when the model is probed.

    Raises:
        ValueError: on a value out of range, or one that does not apply to the layout.

    Example:
        >>> FeaturePoint("stage1", "layer1", "output", "NCHW", channels=64, stride=4).stride
        4
    """

    name: str
    path: str
    io: str
    layout: str
    prefix_tokens: int = 0
    channels: int = dataclasses.field(kw_only=True)
    stride: int | None = dataclasses.field(kw_only=True)
    grid: tuple[int, int] | None = dataclasses.field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        for argument, text in (("name", self.name), ("path", self.path)):
            if not isinstance(text, str) or not text:
                raise ValueError(f"{argument} must be a non-empty string, found {text!r}")
        check_choice("io", self.io, IOS)
        check_choice("layout", self.layout, LAYOUTS)
        check_whole("channels", self.channels, 1)
        check_whole("prefix_tokens", self.prefix_tokens, 0)
        if self.stride is not None:
            check_whole("stride", self.stride, 1)
        if (self.prefix_tokens or self.grid is not None) and self.layout != "NLC":
            raise ValueError(f"prefix_tokens and grid are for layout 'NLC', found layout {self.layout!r}")
        if (self.stride is not None and self.layout == "NC") or (self.stride is None and self.layout == "NLC"):
            raise ValueError(
                f"stride must be None for layout 'NC' and a number for 'NLC', found {self.stride} for {self.layout!r}"
            )


def to_map(point: FeaturePoint, tensor: Tensor) -> Tensor:
    """View the tensor captured at ``point`` as a map (B, c, H, W).

    Args:
        point: where ``tensor`` comes from.
        tensor: captured tensor, in the point's layout.

    Returns:
        Shape (B, c, H, W) with the point's channels, a view of ``tensor``; H and W are 1 for a vector. If the images
        have another size than the probe images, the tokens must form a square.

    Raises:
        ValueError: if the layout or the number of channels differs.

    Example:
        >>> import torch
        >>> point = FeaturePoint("stage1", "blocks.2", "output", "NLC", 1, channels=8, stride=16)
        >>> to_map(point, torch.zeros(2, 1 + 4, 8)).shape
        torch.Size([2, 8, 2, 2])
    """
    axis = CHANNEL_AXIS[point.layout]
    if tensor.ndim == LAYOUTS[point.layout] and tensor.shape[axis] != point.channels:
        raise ValueError(
            f"the feature point {point.name!r} ({point.path} {point.io}) has {point.channels} channels on "
            f"axis {axis} of {point.layout}, found shape {tuple(tensor.shape)}"
        )
    grid = point.grid
    if grid is not None and tensor.ndim == 3 and grid[0] * grid[1] != tensor.shape[1] - point.prefix_tokens:
        grid = None
    return to_feature_map(tensor, layout=point.layout, prefix_tokens=point.prefix_tokens, grid=grid)


def verified(point: FeaturePoint, tensor: Tensor, images: Tensor) -> FeaturePoint:
    """Return ``point`` with its grid; raise ``ValueError`` if the tensor for probe ``images`` differs from it."""
    expected = [(1, 1)] if point.stride is None else grids(images, point.stride)
    if point.layout == "NLC" and tensor.ndim == 3 and point.grid is None:
        patches = tensor.shape[1] - point.prefix_tokens
        grid = next((grid for grid in expected if grid[0] * grid[1] == patches), None)
        if grid is None:
            raise _misfit(point, tensor, images)
        point = dataclasses.replace(point, grid=grid)
    feature_map = to_map(point, tensor)
    if len(feature_map) != len(images) or tuple(feature_map.shape[2:]) not in expected:
        raise _misfit(point, tensor, images)
    return point


def grids(images: Tensor, stride: int) -> list[tuple[int, int]]:
    """Return the sizes (H, W) that a map of this stride can have: rounded down, or up with padding."""
    height, width = images.shape[-2:]
    down = (height // stride, width // stride)
    up = (-(-height // stride), -(-width // stride))
    return [down] if down == up else [down, up]


def _misfit(point: FeaturePoint, tensor: Tensor, images: Tensor) -> ValueError:
    prefix = f" after {point.prefix_tokens} prefix_tokens" if point.prefix_tokens else ""
    positions = "one position" if point.stride is None else f"one position every {point.stride} pixels"
    return ValueError(
        f"the feature point {point.name!r} ({point.path} {point.io}) must be {point.layout} with {positions}"
        f"{prefix}, found shape {tuple(tensor.shape)} for images {tuple(images.shape)}"
    )
