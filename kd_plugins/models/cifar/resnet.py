"""Residual networks of basic blocks for 32x32 images."""

from __future__ import annotations

from torch import Tensor, nn

from .building import conv_norm, initialize_weights, last_relus, point_paths


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut; the sum of both is the input of ``relu2``."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv_norm(in_channels, out_channels, 3, stride=stride)
        self.relu1 = nn.ReLU()
        self.conv2, self.bn2 = conv_norm(out_channels, out_channels, 3)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(*conv_norm(in_channels, out_channels, 1, stride=stride))
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H / stride, W / stride)."""
        residual = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        return self.relu2(residual + self.downsample(x))


class ResNet(nn.Module):
    """Three stages of basic blocks at full, half and quarter resolution.

    For 32x32 images ``layer1``, ``layer2`` and ``layer3`` return maps of 32x32, 16x16 and 8x8. The sum before a
    stage's last ReLU is the input of that ReLU, such as ``layer3.2.relu2`` in ResNet-20. Parameters have the names and
    shapes of the commonly shared CIFAR-100 checkpoints.

    Args:
        depth: number of layers with weights, 6n + 2 for n blocks per stage.
        widths: channels of the stem and of the three stages.

    References:
        He et al., Deep Residual Learning for Image Recognition, CVPR 2016, section 4.2.
    """

    def __init__(
        self, *, depth: int, widths: tuple[int, int, int, int] = (16, 16, 32, 64), num_classes: int = 100
    ) -> None:
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise ValueError(f"depth must be 6n + 2 with n >= 1, such as 8, 20 or 56, found {depth!r}")
        blocks = (depth - 2) // 6
        self.num_classes = num_classes
        self.conv1, self.bn1 = conv_norm(3, widths[0], 3)
        self.relu = nn.ReLU()
        self.layer1 = _stage(widths[0], widths[1], blocks, stride=1)
        self.layer2 = _stage(widths[1], widths[2], blocks, stride=2)
        self.layer3 = _stage(widths[2], widths[3], blocks, stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(widths[3], num_classes)
        initialize_weights(self)

    def feature_paths(self) -> dict[str, tuple[str, str]]:
        """Return where the feature points are: name -> (module path, io)."""
        stages = ["layer1", "layer2", "layer3"]
        relus = last_relus(self, stages, "relu2")
        return point_paths(stages=stages, last_map="layer3", classifier="fc", relus=relus)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (B, 3, H, W) to logits (B, num_classes)."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(self.avgpool(x).flatten(1))


def _stage(in_channels: int, out_channels: int, blocks: int, *, stride: int) -> nn.Sequential:
    first = BasicBlock(in_channels, out_channels, stride=stride)
    return nn.Sequential(first, *(BasicBlock(out_channels, out_channels) for _ in range(blocks - 1)))
