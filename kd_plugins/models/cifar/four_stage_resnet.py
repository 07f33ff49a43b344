"""Residual networks of four stages, as for ImageNet, with a stem for 32x32 images."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from .building import conv_norm, initialize_weights, last_relus, point_paths

WIDTHS = (64, 128, 256, 512)
"""Channels of the 3x3 convolutions of each stage; bottleneck blocks return four times as many."""


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut; the sum of both is the input of ``relu2``."""

    expansion, last_relu = 1, "relu2"

    def __init__(self, in_channels: int, channels: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv_norm(in_channels, channels, 3, stride=stride)
        self.relu1 = nn.ReLU()
        self.conv2, self.bn2 = conv_norm(channels, channels, 3)
        self.shortcut = _shortcut(in_channels, channels, stride)
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, channels, H / stride, W / stride)."""
        residual = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        return self.relu2(residual + self.shortcut(x))


class Bottleneck(nn.Module):
    """A 1x1, a 3x3 and a 1x1 convolution, and a shortcut; the sum of both is the input of ``relu3``."""

    expansion, last_relu = 4, "relu3"

    def __init__(self, in_channels: int, channels: int, *, stride: int = 1) -> None:
        super().__init__()
        out_channels = self.expansion * channels
        self.conv1, self.bn1 = conv_norm(in_channels, channels, 1)
        self.relu1 = nn.ReLU()
        self.conv2, self.bn2 = conv_norm(channels, channels, 3, stride=stride)
        self.relu2 = nn.ReLU()
        self.conv3, self.bn3 = conv_norm(channels, out_channels, 1)
        self.shortcut = _shortcut(in_channels, out_channels, stride)
        self.relu3 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, 4 * channels, H / stride, W / stride)."""
        residual = self.relu1(self.bn1(self.conv1(x)))
        residual = self.relu2(self.bn2(self.conv2(residual)))
        residual = self.bn3(self.conv3(residual))
        return self.relu3(residual + self.shortcut(x))


class _FourStages(nn.Module):
    block: ClassVar[type[BasicBlock] | type[Bottleneck]]

    def __init__(self, *, blocks: tuple[int, int, int, int], num_classes: int = 100) -> None:
        super().__init__()
        expansion = self.block.expansion
        self.num_classes = num_classes
        self.conv1, self.bn1 = conv_norm(3, WIDTHS[0], 3)
        self.relu = nn.ReLU()
        self.layer1 = self._stage(WIDTHS[0], WIDTHS[0], blocks[0], stride=1)
        self.layer2 = self._stage(expansion * WIDTHS[0], WIDTHS[1], blocks[1], stride=2)
        self.layer3 = self._stage(expansion * WIDTHS[1], WIDTHS[2], blocks[2], stride=2)
        self.layer4 = self._stage(expansion * WIDTHS[2], WIDTHS[3], blocks[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(expansion * WIDTHS[3], num_classes)
        initialize_weights(self)

    def _stage(self, in_channels: int, channels: int, blocks: int, *, stride: int) -> nn.Sequential:
        first, between = self.block(in_channels, channels, stride=stride), self.block.expansion * channels
        return nn.Sequential(first, *(self.block(between, channels) for _ in range(blocks - 1)))

    def feature_paths(self) -> dict[str, tuple[str, str]]:
        """Return where the feature points are: name -> (module path, io)."""
        stages = ["layer1", "layer2", "layer3", "layer4"]
        relus = last_relus(self, stages, self.block.last_relu)
        return point_paths(stages=stages, last_map="layer4", classifier="linear", relus=relus)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (B, 3, H, W) to logits (B, num_classes)."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.linear(self.avgpool(x).flatten(1))


class BasicResNet(_FourStages):
    """Four stages of basic blocks, the first at full resolution.

    For 32x32 images ``layer1`` to ``layer4`` return maps of 32x32, 16x16, 8x8 and 4x4 with 64, 128, 256 and 512
    channels. The sum before a stage's last ReLU is the input of that ReLU, such as ``layer4.1.relu2`` in ResNet-18.
    Parameters have the names and shapes of the public CIFAR code.

    Args:
        blocks: blocks in each stage, (2, 2, 2, 2) in ResNet-18 and (3, 4, 6, 3) in ResNet-34.

    References:
        He et al., Deep Residual Learning for Image Recognition, CVPR 2016, table 1 and figure 5.
    """

    block = BasicBlock

    def __init__(self, *, blocks: tuple[int, int, int, int] = (2, 2, 2, 2), num_classes: int = 100) -> None:
        super().__init__(blocks=blocks, num_classes=num_classes)


class BottleneckResNet(_FourStages):
    """Four stages of bottleneck blocks, the first at full resolution.

    For 32x32 images ``layer1`` to ``layer4`` return maps of 32x32, 16x16, 8x8 and 4x4 with 256, 512, 1024 and 2048
    channels. The sum before a stage's last ReLU is the input of that ReLU, such as ``layer4.2.relu3`` in ResNet-50.
    Parameters have the names and shapes of the commonly shared CIFAR-100 checkpoints.

    Args:
        blocks: blocks in each stage.

    References:
        He et al., Deep Residual Learning for Image Recognition, CVPR 2016, table 1 and figure 5.
    """

    block = Bottleneck

    def __init__(self, *, blocks: tuple[int, int, int, int] = (3, 4, 6, 3), num_classes: int = 100) -> None:
        super().__init__(blocks=blocks, num_classes=num_classes)


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return nn.Sequential(*conv_norm(in_channels, out_channels, 1, stride=stride))
