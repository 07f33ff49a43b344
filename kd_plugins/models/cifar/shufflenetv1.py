"""ShuffleNet (version 1) for 32x32 images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .building import conv_norm, initialize_weights, last_relus, point_paths

STEM_CHANNELS = 24


class GroupedBottleneck(nn.Module):
    """Grouped 1x1, channel shuffle, depthwise 3x3 and grouped 1x1 convolution, and a shortcut.

    With stride 1 the input is added, with stride 2 the average-pooled input is appended as further channels. The result
    is the input of ``relu3``.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int, groups: int, first_groups: int) -> None:
        super().__init__()
        own_channels = out_channels - in_channels if stride == 2 else out_channels
        middle = own_channels // 4
        self.appends = stride == 2
        self.conv1, self.bn1 = conv_norm(in_channels, middle, 1, groups=first_groups)
        self.relu1 = nn.ReLU()
        self.shuffle1 = nn.ChannelShuffle(first_groups)
        self.conv2, self.bn2 = conv_norm(middle, middle, 3, stride=stride, groups=middle)
        self.relu2 = nn.ReLU()
        self.conv3, self.bn3 = conv_norm(middle, own_channels, 1, groups=groups)
        self.shortcut = nn.AvgPool2d(3, stride=2, padding=1) if self.appends else nn.Identity()
        self.relu3 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H / stride, W / stride)."""
        residual = self.shuffle1(self.relu1(self.bn1(self.conv1(x))))
        residual = self.relu2(self.bn2(self.conv2(residual)))
        residual = self.bn3(self.conv3(residual))
        kept = self.shortcut(x)
        return self.relu3(torch.cat([residual, kept], dim=1) if self.appends else residual + kept)


class ShuffleNetV1(nn.Module):
    """Three stages of grouped bottlenecks; each halves the resolution.

    For 32x32 images ``layer1``, ``layer2`` and ``layer3`` return maps of 16x16, 8x8 and 4x4. The sum before a stage's
    last ReLU is the input of that ReLU, such as ``layer3.3.relu3``. Parameters have the names and shapes of the
    commonly shared CIFAR-100 checkpoints, which differ from the paper: the stem is a 1x1 convolution at full
    resolution, and a ReLU follows the depthwise convolution.

    Args:
        widths: channels of the stages.
        blocks: blocks in each stage.
        groups: groups of the 1x1 convolutions; the first one has a single group.

    References:
        Zhang et al., ShuffleNet: An Extremely Efficient Convolutional Neural Network for Mobile Devices, CVPR 2018,
        table 1.
    """

    def __init__(
        self,
        *,
        widths: tuple[int, int, int] = (240, 480, 960),
        blocks: tuple[int, int, int] = (4, 8, 4),
        groups: int = 3,
        num_classes: int = 100,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.conv1, self.bn1 = conv_norm(3, STEM_CHANNELS, 1)
        self.relu = nn.ReLU()
        self.layer1 = _stage(STEM_CHANNELS, widths[0], blocks[0], groups=groups, first_groups=1)
        self.layer2 = _stage(widths[0], widths[1], blocks[1], groups=groups, first_groups=groups)
        self.layer3 = _stage(widths[1], widths[2], blocks[2], groups=groups, first_groups=groups)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(widths[2], num_classes)
        initialize_weights(self)

    def feature_paths(self) -> dict[str, tuple[str, str]]:
        """Return where the feature points are: name -> (module path, io)."""
        stages = ["layer1", "layer2", "layer3"]
        relus = last_relus(self, stages, "relu3")
        return point_paths(stages=stages, last_map="layer3", classifier="linear", relus=relus)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (B, 3, H, W) to logits (B, num_classes)."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(self.avgpool(x).flatten(1))


def _stage(in_channels: int, out_channels: int, blocks: int, *, groups: int, first_groups: int) -> nn.Sequential:
    first = GroupedBottleneck(in_channels, out_channels, stride=2, groups=groups, first_groups=first_groups)
    rest = (
        GroupedBottleneck(out_channels, out_channels, stride=1, groups=groups, first_groups=groups)
        for _ in range(blocks - 1)
    )
    return nn.Sequential(first, *rest)
