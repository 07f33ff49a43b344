"""The networks for 32x32 images, as data: names, sizes and what distinguishes the members of a family."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Network:
    """A network that :mod:`kd_plugins.models.cifar` builds."""

    name: str  # in file names and on the command line
    title: str  # in comments
    summary: str  # what it is, for listings
    family: str  # name of its class
    parameters: int  # number of parameters for 100 classes
    settings: Mapping[str, Any] = field(default_factory=dict)  # keywords of the class beside ``num_classes``

    @property
    def key(self) -> str:
        """Key in torchdistill's registry: ``cifar_`` and the name, which may begin with it."""
        return f"cifar_{self.name.removeprefix('cifar_')}"

    @property
    def note(self) -> str:
        """Size and source of matching checkpoints.

        Example:
            >>> NETWORKS["cifar_vgg13"].note
            '9,462,180 parameters; CIFAR-100 weights: RepDistiller, mdistiller'
        """
        shared = "CIFAR-100 weights" if self.name in SHARED_TEACHERS else "parameter names"
        return f"{self.parameters:,} parameters; {shared}: RepDistiller, mdistiller"


SHARED_TEACHERS = ("resnet56", "resnet110", "resnet32x4", "resnet50", "wrn_40_2", "vgg13")
"""Networks whose CIFAR-100 weights RepDistiller and mdistiller share as teachers."""


def _networks() -> Iterator[Network]:
    sizes = {
        8: 83_892, 14: 181_108, 20: 278_324, 26: 375_540, 32: 472_756, 44: 667_188, 56: 861_620, 110: 1_736_564,
    }  # fmt: skip
    for depth, size in sizes.items():
        title = f"ResNet-{depth}"
        yield Network(f"resnet{depth}", title, f"{title} (stages of 16, 32, 64)", "ResNet", size, {"depth": depth})
    for depth, size in {8: 1_233_540, 32: 7_433_860}.items():
        title, settings = f"ResNet-{depth}x4", {"depth": depth, "widths": (32, 64, 128, 256)}
        yield Network(f"resnet{depth}x4", title, f"{title} (stages of 64, 128, 256)", "ResNet", size, settings)
    # resnet18 and resnet34 are timm's, also on small images.
    for depth, blocks, size in ((18, (2, 2, 2, 2), 11_220_132), (34, (3, 4, 6, 3), 21_328_292)):
        title, settings = f"ResNet-{depth}", {"blocks": blocks}
        yield Network(
            f"cifar_resnet{depth}", title, f"{title} (stages of 64, 128, 256, 512)", "BasicResNet", size, settings
        )
    yield Network(
        "resnet50", "ResNet-50", "ResNet-50 (bottleneck blocks)", "BottleneckResNet", 23_705_252,
        {"blocks": (3, 4, 6, 3)},
    )  # fmt: skip
    wide = {
        (16, 1): 180_916, (16, 2): 703_284, (16, 4): 2_772_020, (28, 2): 1_479_220, (28, 4): 5_872_180,
        (40, 1): 569_780, (40, 2): 2_255_156,
    }  # fmt: skip
    for (depth, widen), size in wide.items():
        title = f"WRN-{depth}-{widen}"
        yield Network(f"wrn_{depth}_{widen}", title, title, "WideResNet", size, {"depth": depth, "widen": widen})
    for depth, size in {8: 3_965_028, 11: 9_277_284, 13: 9_462_180, 16: 14_774_436, 19: 20_086_692}.items():
        title = f"VGG-{depth}"
        yield Network(f"vgg{depth}", title, f"{title} with batch norm", "VGG", size, {"depth": depth})
    summary = "MobileNetV2 (half width, expansion 6)"
    yield Network("mobilenetv2", "MobileNetV2", summary, "MobileNetV2", 812_836)
    yield Network("shufflenetv1", "ShuffleNetV1", "ShuffleNet (3 groups)", "ShuffleNetV1", 949_258)
    yield Network("shufflenetv2", "ShuffleNetV2", "ShuffleNetV2 (1x)", "ShuffleNetV2", 1_355_528)


NETWORKS: dict[str, Network] = {network.key: network for network in _networks()}
