"""MobileNetV2 for 32x32 images."""

from __future__ import annotations

from torch import Tensor, nn

from .building import conv_norm, initialize_weights, point_paths

# Width before scaling, blocks and stride of each stage; the first stage does not expand.
STAGES = ((16, 1, 1), (24, 2, 1), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))
STEM_CHANNELS = 32
LAST_CHANNELS = 1280


class InvertedResidual(nn.Module):
    """A 1x1, a depthwise 3x3 and a 1x1 convolution; with a shortcut if input and output have the same shape."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int, expansion: int) -> None:
        super().__init__()
        middle = in_channels * expansion
        self.adds = stride == 1 and in_channels == out_channels
        self.conv = nn.Sequential(
            *conv_norm(in_channels, middle, 1),
            nn.ReLU(),
            *conv_norm(middle, middle, 3, stride=stride, groups=middle),
            nn.ReLU(),
            *conv_norm(middle, out_channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H / stride, W / stride)."""
        return x + self.conv(x) if self.adds else self.conv(x)


class MobileNetV2(nn.Module):
    """Seven stages of inverted residuals after a stem that halves the resolution.

    For 32x32 images ``blocks.1``, ``blocks.2``, ``blocks.4`` and ``blocks.6`` return maps of 16x16, 8x8, 4x4 and 2x2.
    No ReLU follows a block. Parameters have the names and shapes of the commonly shared CIFAR-100 checkpoints, which
    differ from the paper in the strides, in ReLU instead of ReLU6, and in a 1x1 convolution in the block that does not
    expand.

    Args:
        width: factor on the width of all stages.
        expansion: channels of a block's 3x3 convolution divided by those of its input.

    References:
        Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, CVPR 2018, table 2.
    """

    def __init__(self, *, width: float = 0.5, expansion: int = 6, num_classes: int = 100) -> None:
        super().__init__()
        self.num_classes = num_classes
        channels = int(STEM_CHANNELS * width)
        self.conv1 = nn.Sequential(*conv_norm(3, channels, 3, stride=2), nn.ReLU())
        stages = []
        for position, (base, blocks, stride) in enumerate(STAGES):
            out_channels = int(base * width)
            stage = []
            for block_stride in (stride, *[1] * (blocks - 1)):
                own = expansion if position else 1
                stage.append(InvertedResidual(channels, out_channels, stride=block_stride, expansion=own))
                channels = out_channels
            stages.append(nn.Sequential(*stage))
        self.blocks = nn.Sequential(*stages)
        last = int(LAST_CHANNELS * max(width, 1.0))
        self.conv2 = nn.Sequential(*conv_norm(channels, last, 1), nn.ReLU())
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
