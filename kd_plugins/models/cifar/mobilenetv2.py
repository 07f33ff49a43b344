"""MobileNetV2 for 32x32 images."""

from __future__ import annotations

from torch import Tensor, nn

from .building import initialize_weights, point_paths

# Width before scaling, blocks and stride of each stage; the first stage does not expand.
STAGES = ((16, 1, 1), (24, 2, 1), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))
STEM_CHANNELS = 32
LAST_CHANNELS = 1280


class InvertedResidual(nn.Module):
    """Widen, filter each channel, narrow; with a shortcut where input and output have one shape.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        stride: of the 3x3 convolution.
        expansion: how many times wider the middle is than the input.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int, expansion: int) -> None:
        super().__init__()
        middle = in_channels * expansion
        self.adds = stride == 1 and in_channels == out_channels
        self.conv = nn.Sequential(
            nn.Conv2d(in_channels, middle, 1, bias=False),
            nn.BatchNorm2d(middle),
            nn.ReLU(),
            nn.Conv2d(middle, middle, 3, stride=stride, padding=1, groups=middle, bias=False),
            nn.BatchNorm2d(middle),
            nn.ReLU(),
            nn.Conv2d(middle, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H / stride, W / stride)."""
        return x + self.conv(x) if self.adds else self.conv(x)


class MobileNetV2(nn.Module):
    """Seven stages of inverted residuals after a stem that halves the resolution.

    For 32x32 images ``blocks.1``, ``blocks.2``, ``blocks.4`` and ``blocks.6`` give maps of 16x16, 8x8, 4x4
    and 2x2. No ReLU follows a block. Names and shapes of the parameters are those of the commonly shared
    CIFAR-100 checkpoints, which differ from the paper in strides, in ReLU instead of ReLU6 and in a 1x1
    convolution in the block that does not expand.

    Args:
        width: factor on the width of all stages.
        expansion: how many times wider the middle of a block is than its input.
        num_classes: number of outputs.

    References:
        Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, CVPR 2018, table 2.

    Example:
        >>> import torch
        >>> MobileNetV2(num_classes=10)(torch.randn(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    def __init__(self, *, width: float = 0.5, expansion: int = 6, num_classes: int = 100) -> None:
        super().__init__()
        self.num_classes = num_classes
        channels = int(STEM_CHANNELS * width)
        self.conv1 = _convolution(3, channels, 3, stride=2)
        stages = []
        for position, (base, blocks, stride) in enumerate(STAGES):
            out_channels = int(base * width)
            stage = []
            for block in range(blocks):
                stage.append(
                    InvertedResidual(
                        channels,
                        out_channels,
                        stride=stride if block == 0 else 1,
                        expansion=expansion if position else 1,
                    )
                )
                channels = out_channels
            stages.append(nn.Sequential(*stage))
        self.blocks = nn.Sequential(*stages)
        last = int(LAST_CHANNELS * max(width, 1.0))
        self.conv2 = _convolution(channels, last, 1)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        head = nn.Linear(last, num_classes)
        self.classifier = nn.Sequential(head)
        initialize_weights(self)
        nn.init.normal_(head.weight, std=0.01)
        nn.init.zeros_(head.bias)

    def feature_paths(self) -> dict[str, tuple[str, str]]:
        """Return where the feature points are: name -> (module path, io)."""
        stages = [f"blocks.{position}" for position in (1, 2, 4, 6)]
        return point_paths(stages=stages, last_map="conv2", classifier="classifier.0")

    def forward(self, x: Tensor) -> Tensor:
        """Map images (B, 3, H, W) to logits (B, num_classes)."""
        x = self.conv2(self.blocks(self.conv1(x)))
        return self.classifier(self.avgpool(x).flatten(1))


def _convolution(in_channels: int, out_channels: int, kernel: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    )
