"""Blocks, stages, last feature map and head of a network, for local learning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torchvision
from torch import nn

from ...models import FeaturePoint, declare_feature_points, feature_points, image_size
from ...models.points.entries import ShownPoint, shown_point
from ...models.points.probe import probe_images, run, still, watch

BLOCK_NAMES = ("Block", "Bottleneck", "InvertedResidual")
"""Suffixes of the class names of blocks in this package, torchvision and timm."""


@dataclass(frozen=True)
class Anatomy:
    """A network's parts, in the order of its forward pass."""

    model: nn.Module
    size: tuple[int, int]  # of the probe images
    stages: tuple[FeaturePoint, ...]  # empty if they are unknown
    blocks: tuple[str, ...]  # their paths, or those of the stages if it has no blocks (VGG)
    finished: dict[str, int] = field(repr=False)  # module path -> position in the order in which modules finish
    calls: dict[str, int] = field(repr=False)  # module path -> number of calls in a forward pass
    reason: str = ""  # why the stages are unknown

    def stage_of(self, path: str) -> int:
        """Return the number, from 1, of the stage in which the module finishes."""
        before = sum(self.finished[stage.path] < self.finished[path] for stage in self.stages)
        return min(before + 1, len(self.stages))

    def point(self, path: str) -> ShownPoint:
        """Return a module's output as a feature point, in the stages' layout; NCHW if the stages are unknown."""
        for stage in self.stages:
            if stage.path == path and stage.io == "output":
                return shown_point(stage)
        if not self.stages:
            return ShownPoint(path, path, "output", "NCHW")
        like = self.stages[0]
        return ShownPoint(path, path, "output", like.layout, like.prefix_tokens, like.grid)

    def need_stages(self, for_what: str) -> None:
        """Raise ``ValueError`` if the stages are unknown."""
        if not self.stages:
            raise ValueError(f"{for_what} needs the stages of {type(self.model).__name__}: {self.reason}")

    def ends_of_stages(self) -> list[str]:
        """Return the last block of every stage."""
        return list({self.stage_of(block): block for block in self.blocks}.values())

    def starts_of_stages(self) -> list[str]:
        """Return the first block of every stage."""
        first = {self.stage_of(block): block for block in reversed(self.blocks)}
        return list(first.values())[::-1]


def anatomy(model: nn.Module, probe_size: int | Sequence[int] | None = None) -> Anatomy:
    """Find a network's blocks and stages by running it a few times in eval mode; its state is restored.

    Example:
        >>> from kd_plugins.models import CIFAR_MODELS
        >>> parts = anatomy(CIFAR_MODELS["cifar_resnet14"]())
        >>> parts.blocks
        ('layer1.0', 'layer1.1', 'layer2.0', 'layer2.1', 'layer3.0', 'layer3.1')
        >>> parts.starts_of_stages(), parts.stage_of("layer2.1")
        (['layer1.0', 'layer2.0', 'layer3.0'], 2)
    """
    declare_torchvision_resnet(model)
    size = image_size(model, probe_size, argument="probe_size")
    stages, reason = _stages(model, size)
    finished, calls = _order(model, size)
    blocks = [path for path, module in model.named_modules() if type(module).__name__.endswith(BLOCK_NAMES)]
    outer = [path for path in blocks if path in finished and not any(path.startswith(f"{b}.") for b in blocks)]
    found = sorted(outer or [stage.path for stage in stages], key=finished.__getitem__)
    return Anatomy(model, size, stages, tuple(found), finished, calls, reason)


def _stages(model: nn.Module, size: tuple[int, int]) -> tuple[tuple[FeaturePoint, ...], str]:
    try:
        points = feature_points(model, input_size=size)
    except ValueError as error:
        return (), str(error)
    stages = tuple(point for point in points if point.name.removeprefix("stage").isdigit())
    return stages, "" if stages else "no feature point stage1 is declared"


def _order(model: nn.Module, size: tuple[int, int]) -> tuple[dict[str, int], dict[str, int]]:
    finished: dict[str, int] = {}
    calls: dict[str, int] = {}
    with still(model) as handles:
        for name, module in model.named_modules():
            calls[name or "."] = 0

            def note(_output: object, path: str = name or ".") -> None:
                calls[path] += 1
                finished[path] = len(finished)

            handles.append(watch(module, "output", note))
        run(model, probe_images(model, size))
    return finished, calls


def declare_torchvision_resnet(model: nn.Module) -> None:
    """Declare the feature points of a torchvision ResNet without any; do nothing for other models."""
    if not isinstance(model, torchvision.models.ResNet) or hasattr(model, "declared_feature_points"):
        return
    points = []
    for number, stage in enumerate((model.layer1, model.layer2, model.layer3, model.layer4), start=1):
        channels, stride = getattr(stage[-1], "conv3", stage[-1].conv2).out_channels, 2 ** (number + 1)
        name, path = f"stage{number}", f"layer{number}"
        points.append(FeaturePoint(name, path, "output", "NCHW", channels=channels, stride=stride))
    points.append(FeaturePoint("last_map", path, "output", "NCHW", channels=channels, stride=stride))
    points.append(FeaturePoint("pooled", "fc", "input", "NC", channels=channels, stride=None))
    if isinstance(model.fc, nn.Linear):
        points.append(FeaturePoint("logits", ".", "output", "NC", channels=model.fc.out_features, stride=None))
    declare_feature_points(model, points, input_size=224)
