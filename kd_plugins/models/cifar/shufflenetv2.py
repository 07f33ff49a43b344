"""ShuffleNetV2 for 32x32 images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .building import conv_norm, initialize_weights, point_paths

STEM_CHANNELS = 24


class SplitBlock(nn.Module):
    """Three convolutions on half of the channels, then a shuffle of all."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.conv1, self.bn1 = conv_norm(half, half, 1)
        self.relu1 = nn.ReLU()
        self.conv2, self.bn2 = conv_norm(half, half, 3, groups=half)
        self.conv3, self.bn3 = conv_norm(half, half, 1)
        self.relu3 = nn.ReLU()
        self.shuffle = nn.ChannelShuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, H, W) to the same shape."""
        kept, changed = x.chunk(2, dim=1)
        changed = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(changed)))))
        changed = self.relu3(self.bn3(self.conv3(changed)))
        return self.shuffle(torch.cat([kept, changed], dim=1))


class DownBlock(nn.Module):
    """Two branches that halve the resolution, each with half of the output's channels."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        whole, half = in_channels, out_channels // 2
        self.conv1, self.bn1 = conv_norm(whole, whole, 3, stride=2, groups=whole)
        self.conv2, self.bn2 = conv_norm(whole, half, 1)
        self.relu2 = nn.ReLU()
        self.conv3, self.bn3 = conv_norm(whole, half, 1)
        self.relu3 = nn.ReLU()
        self.conv4, self.bn4 = conv_norm(half, half, 3, stride=2, groups=half)
        self.conv5, self.bn5 = conv_norm(half, half, 1)
        self.relu5 = nn.ReLU()
        self.shuffle = nn.ChannelShuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H / 2, W / 2)."""
        short = self.relu2(self.bn2(self.conv2(self.bn1(self.conv1(x)))))
        long = self.bn4(self.conv4(self.relu3(self.bn3(self.conv3(x)))))
        long = self.relu5(self.bn5(self.conv5(long)))
        return self.shuffle(torch.cat([short, long], dim=1))


class ShuffleNetV2(nn.Module):
    """Three stages that each halve the resolution, and a last 1x1 convolution.

    For 32x32 images ``layer1``, ``layer2`` and ``layer3`` return maps of 16x16, 8x8 and 4x4. No ReLU follows a sum.
    Parameters have the names and shapes of the commonly shared CIFAR-100 checkpoints, whose stem is a 1x1 convolution
    at full resolution.

    Args:
        widths: channels of the stages and of the last convolution.
        blocks: blocks in each stage after the first one, which halves the resolution.

    References:
        Ma et al., ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design, ECCV 2018, table 5 and
        figure 3.
    """

    def __init__(
        self,
        *,
        widths: tuple[int, int, int, int] = (116, 232, 464, 1024),
        blocks: tuple[int, int, int] = (3, 7, 3),
        num_classes: int = 100,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.conv1, self.bn1 = conv_norm(3, STEM_CHANNELS, 1)
        self.relu1 = nn.ReLU()
        self.layer1 = _stage(STEM_CHANNELS, widths[0], blocks[0])
        self.layer2 = _stage(widths[0], widths[1], blocks[1])
        self.layer3 = _stage(widths[1], widths[2], blocks[2])
        self.conv2, self.bn2 = conv_norm(widths[2], widths[3], 1)
        self.relu2 = nn.ReLU()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(widths[3], num_classes)
        initialize_weights(self)

    def feature_paths(self) -> dict[str, tuple[str, str]]:
        """Return where the feature points are: name -> (module path, io)."""
        return point_paths(stages=["layer1", "layer2", "layer3"], last_map="relu2", classifier="linear")

    def forward(self, x: Tensor) -> Tensor:
        """Map images (B, 3, H, W) to logits (B, num_classes)."""
        x = self.relu1(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        x = self.relu2(self.bn2(self.conv2(x)))
        return self.linear(self.avgpool(x).flatten(1))


def _stage(in_channels: int, out_channels: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(DownBlock(in_channels, out_channels), *(SplitBlock(out_channels) for _ in range(blocks)))
