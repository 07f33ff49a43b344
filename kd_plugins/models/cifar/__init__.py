"""Networks for 32x32 images, with widths and parameter names of the commonly shared CIFAR-100 checkpoints.

``CIFAR_MODELS`` maps names to builders, ``builder(*, num_classes=100, checkpoint=None, use_ema=True, frozen=False)``.
All networks return only logits, call every module once per forward pass and change no tensor in place, so a hook on any
module captures correct values. ``feature_paths()`` of a network names its feature points.
"""

from .bottleneck_resnet import BottleneckResNet
from .building import ModelBuilder, make_builder
from .mobilenetv2 import MobileNetV2
from .resnet import ResNet
from .shufflenetv1 import ShuffleNetV1
from .shufflenetv2 import ShuffleNetV2
from .vgg import LAYERS as _VGG_LAYERS
from .vgg import VGG
from .wide_resnet import WideResNet

_BUILDERS = [
    *(
        make_builder(f"cifar_resnet{depth}", ResNet, f"ResNet-{depth} (stages of 16, 32, 64)", depth=depth)
        for depth in (8, 14, 20, 26, 32, 44, 56, 110)
    ),
    *(
        make_builder(
            f"cifar_resnet{depth}x4",
            ResNet,
            f"ResNet-{depth}x4 (stages of 64, 128, 256)",
            depth=depth,
            widths=(32, 64, 128, 256),
        )
        for depth in (8, 32)
    ),
    make_builder("cifar_resnet50", BottleneckResNet, "ResNet-50 (bottleneck blocks)", blocks=(3, 4, 6, 3)),
    *(
        make_builder(f"cifar_wrn_{depth}_{widen}", WideResNet, f"WRN-{depth}-{widen}", depth=depth, widen=widen)
        for depth, widen in ((16, 1), (16, 2), (16, 4), (28, 2), (28, 4), (40, 1), (40, 2))
    ),
    *(make_builder(f"cifar_vgg{depth}", VGG, f"VGG-{depth} with batch norm", depth=depth) for depth in _VGG_LAYERS),
    make_builder("cifar_mobilenetv2", MobileNetV2, "MobileNetV2 (half width, expansion 6)"),
    make_builder("cifar_shufflenetv1", ShuffleNetV1, "ShuffleNet (3 groups)"),
    make_builder("cifar_shufflenetv2", ShuffleNetV2, "ShuffleNetV2 (1x)"),
]

CIFAR_MODELS: dict[str, ModelBuilder] = {builder.__name__: builder for builder in _BUILDERS}

__all__ = [
    "CIFAR_MODELS",
    "VGG",
    "BottleneckResNet",
    "MobileNetV2",
    "ResNet",
    "ShuffleNetV1",
    "ShuffleNetV2",
    "WideResNet",
]
