"""Wide residual networks for 32x32 images."""

from __future__ import annotations

from torch import Tensor, nn

from .building import initialize_weights, point_paths


class PreActivationBlock(nn.Module):
    """Two 3x3 convolutions, each after batch norm and ReLU, and a shortcut; no ReLU follows the sum of both.

    If the width changes, the shortcut starts from the activated input.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.relu1 = nn.ReLU()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.relu2 = nn.ReLU()
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.widens = in_channels != out_channels
        # The shared checkpoints have this name, which is not in snake case.
        self.convShortcut: nn.Module = nn.Identity()
        if self.widens:
            self.convShortcut = nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H / stride, W / stride)."""
        activated = self.relu1(self.bn1(x))
        residual = self.conv2(self.relu2(self.bn2(self.conv1(activated))))
        return self.convShortcut(activated if self.widens else x) + residual


class Stage(nn.Module):
    """Blocks of one width, in ``layer``; the first changes width and resolution."""

    def __init__(self, in_channels: int, out_channels: int, blocks: int, *, stride: int) -> None:
        super().__init__()
        first = PreActivationBlock(in_channels, out_channels, stride=stride)
        rest = (PreActivationBlock(out_channels, out_channels) for _ in range(blocks - 1))
        self.layer = nn.Sequential(first, *rest)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H / stride, W / stride)."""
        return self.layer(x)


class WideResNet(nn.Module):
    """Three stages of pre-activation blocks, ``widen`` times as wide as the narrow ResNet.

    For 32x32 images ``block1``, ``block2`` and ``block3`` return sums of 32x32, 16x16 and 8x8, before batch norm and
    ReLU; ``relu`` returns the activated last one. Parameters have the names and shapes of the commonly shared CIFAR-100
    checkpoints.

    Args:
        depth: number of layers with weights, 6n + 4 for n blocks per stage.
        widen: factor on the widths 16, 32, 64.

    References:
        Zagoruyko and Komodakis, Wide Residual Networks, BMVC 2016, table 1.
    """

    def __init__(self, *, depth: int, widen: int, num_classes: int = 100) -> None:
        super().__init__()
        if depth < 10 or (depth - 4) % 6:
            raise ValueError(f"depth must be 6n + 4 with n >= 1, such as 16, 28 or 40, found {depth!r}")
        blocks = (depth - 4) // 6
        widths = [width * widen for width in (16, 32, 64)]
        self.num_classes = num_classes
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.block1 = Stage(16, widths[0], blocks, stride=1)
        self.block2 = Stage(widths[0], widths[1], blocks, stride=2)
        self.block3 = Stage(widths[1], widths[2], blocks, stride=2)
        self.bn1 = nn.BatchNorm2d(widths[2])
        self.relu = nn.ReLU()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(widths[2], num_classes)
        initialize_weights(self)
        nn.init.zeros_(self.fc.bias)

    def feature_paths(self) -> dict[str, tuple[str, str]]:
        """Return where the feature points are: name -> (module path, io)."""
        relus = ["block2.layer.0.relu1", "block3.layer.0.relu1", "relu"]
        return point_paths(stages=["block1", "block2", "block3"], last_map="relu", classifier="fc", relus=relus)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (B, 3, H, W) to logits (B, num_classes)."""
        x = self.block3(self.block2(self.block1(self.conv1(x))))
        return self.fc(self.avgpool(self.relu(self.bn1(x))).flatten(1))
