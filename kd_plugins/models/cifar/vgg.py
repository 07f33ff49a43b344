"""VGG networks with batch norm and a single linear layer, for 32x32 images."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .building import initialize_weights, point_paths

# Depth in the paper's count -> convolutions in each of the five blocks.
LAYERS = {
    8: (1, 1, 1, 1, 1),
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
WIDTHS = (64, 128, 256, 512, 512)
LARGE_INPUT = 64
UNIT = 3
"""Modules of a convolution, its norm and its ReLU."""


class VGG(nn.Module):
    """Five blocks of 3x3 convolutions, with pooling between them.

    For 32x32 images ``block0`` to ``block4`` return maps of 32x32, 16x16, 8x8, 4x4 and 4x4 before their last ReLU, and
    ``relu0`` to ``relu4`` after it. Images of 64 pixels and more are halved once more before ``block4``. Parameters
    have the names and shapes of the commonly shared CIFAR-100 checkpoints, which have one linear layer, not three.

    Args:
        depth: 8, 11, 13, 16 or 19.

    References:
        Simonyan and Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, ICLR 2015, table 1.
    """

    def __init__(self, *, depth: int, num_classes: int = 100) -> None:
        super().__init__()
        if depth not in LAYERS:
            raise ValueError(f"depth must be one of {', '.join(map(str, LAYERS))}, found {depth!r}")
        layers = LAYERS[depth]
        self.num_classes = num_classes
        self.block0 = _block(3, WIDTHS[0], layers[0])
        self.relu0 = nn.ReLU()
        self.pool0 = nn.MaxPool2d(2)
        self.block1 = _block(WIDTHS[0], WIDTHS[1], layers[1])
        self.relu1 = nn.ReLU()
        self.pool1 = nn.MaxPool2d(2)
        self.block2 = _block(WIDTHS[1], WIDTHS[2], layers[2])
        self.relu2 = nn.ReLU()
        self.pool2 = nn.MaxPool2d(2)
        self.block3 = _block(WIDTHS[2], WIDTHS[3], layers[3])
        self.relu3 = nn.ReLU()
        self.block4 = _block(WIDTHS[3], WIDTHS[4], layers[4])
        self.relu4 = nn.ReLU()
        self.pool4 = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(WIDTHS[4], num_classes)
        initialize_weights(self)
        nn.init.normal_(self.classifier.weight, std=0.01)
        nn.init.zeros_(self.classifier.bias)

    def feature_paths(self) -> dict[str, tuple[str, str]]:
        """Return where the feature points are: name -> (module path, io)."""
        relus = [f"relu{block}" for block in range(len(WIDTHS))]
        return point_paths(stages=relus, last_map=relus[-1], classifier="classifier", relus=relus)

    def intermediate_path(self) -> str:
        """Return the place of letKD's intermediate layer: after the first unit of the last block.

        In VGG-8 the last block is a single unit, so the layer goes after the block before it.
        """
        return "relu3" if len(self.block4) < UNIT else f"block4.{UNIT - 1}"

    def forward(self, x: Tensor) -> Tensor:
        """Map images (B, 3, H, W) to logits (B, num_classes)."""
        large = x.shape[-2] >= LARGE_INPUT
        x = self.pool0(self.relu0(self.block0(x)))
        x = self.pool1(self.relu1(self.block1(x)))
        x = self.pool2(self.relu2(self.block2(x)))
        x = self.relu3(self.block3(x))
        if large:
            # Not a module, because a hook on it would never fire for 32x32 images.
            x = F.max_pool2d(x, 2)
        x = self.relu4(self.block4(x))
        return self.classifier(self.pool4(x).flatten(1))


def _block(in_channels: int, out_channels: int, layers: int) -> nn.Sequential:
    parts: list[nn.Module] = []
    for _ in range(layers):
        parts += [nn.Conv2d(in_channels, out_channels, 3, padding=1), nn.BatchNorm2d(out_channels), nn.ReLU()]
        in_channels = out_channels
    return nn.Sequential(*parts[:-1])
