"""Networks for 32x32 images, with widths and parameter names of the commonly shared CIFAR-100 checkpoints.

``CIFAR_MODELS`` maps names to builders, ``builder(*, num_classes=100, checkpoint=None, use_ema=True, frozen=False)``.
All networks return only logits, call every module once per forward pass and change no tensor in place, so a hook on any
module captures correct values. ``feature_paths()`` of a network names its feature points.
"""

from ...pairs.cifar import NETWORKS
from .building import ModelBuilder, make_builder
from .four_stage_resnet import BasicResNet, BottleneckResNet
from .mobilenetv2 import MobileNetV2
from .resnet import ResNet
from .shufflenetv1 import ShuffleNetV1
from .shufflenetv2 import ShuffleNetV2
from .vgg import VGG
from .wide_resnet import WideResNet

_FAMILIES = {
    family.__name__: family
    for family in (ResNet, BasicResNet, BottleneckResNet, WideResNet, VGG, MobileNetV2, ShuffleNetV1, ShuffleNetV2)
}

CIFAR_MODELS: dict[str, ModelBuilder] = {
    key: make_builder(key, _FAMILIES[network.family], network.summary, **network.settings)
    for key, network in NETWORKS.items()
}
globals().update(CIFAR_MODELS)  # so that "kd_plugins.models.cifar:cifar_resnet8" can be resolved

__all__ = [
    "CIFAR_MODELS",
    "VGG",
    "BasicResNet",
    "BottleneckResNet",
    "MobileNetV2",
    "ResNet",
    "ShuffleNetV1",
    "ShuffleNetV2",
    "WideResNet",
]
