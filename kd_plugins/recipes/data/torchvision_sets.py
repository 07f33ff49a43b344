"""torchvision's classification sets: classes, image size, and how their parts are named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

TORCHVISION_PREFIX = "torchvision:"
CIFAR100_STATS = ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761))
CIFAR10_STATS = ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
FASHION_MNIST_STATS = ((0.2860,) * 3, (0.3530,) * 3)


@dataclass(frozen=True)
class TorchvisionSet:
    """A classification set of torchvision."""

    classes: int  # number of classes
    images: int  # number of training images, without an official validation set
    files: str  # file or folder below ``root`` that holds it
    size: int = 0  # height and width of its images; 0 where they differ
    grey: bool = False  # whether its images have one channel
    train: Mapping[str, Any] = field(default_factory=lambda: {"train": True})  # keywords of the training images
    test: Mapping[str, Any] | None = field(default_factory=lambda: {"train": False})  # None where there is no such part
    val: Mapping[str, Any] | None = None  # keywords of the official validation images; None where there are none
    stats: tuple[tuple[float, ...], tuple[float, ...]] | None = None  # mean and standard deviation, where well known
    mixed: bool = False  # whether some of its images are grey and others are not
    flips: bool = True  # whether a mirrored image keeps its class
    manual: str = ""  # what to download by hand; empty where torchvision downloads it
    needs: str = ""  # packages that torchvision needs for it, beyond those of this package


def _parts(train: str = "train", test: str = "test", val: str = "", **same: Any) -> dict[str, Any]:
    """Return the keywords of the parts of a set that names them by ``split``."""
    parts = {"train": {"split": train, **same}, "test": {"split": test, **same}}
    return {**parts, "val": {"split": val, **same}} if val else parts


_WHOLE: dict[str, Any] = {"train": {}, "test": None}

SETS: dict[str, TorchvisionSet] = {
    "CIFAR10": TorchvisionSet(10, 50000, "cifar-10-batches-py", 32, stats=CIFAR10_STATS),
    "CIFAR100": TorchvisionSet(100, 50000, "cifar-100-python", 32, stats=CIFAR100_STATS),
    "Caltech101": TorchvisionSet(101, 8677, "caltech101", **_WHOLE, mixed=True, needs="gdown"),
    "Caltech256": TorchvisionSet(257, 30607, "caltech256", **_WHOLE, mixed=True, needs="gdown"),
    "Country211": TorchvisionSet(211, 31650, "country211", **_parts(val="valid")),
    "DTD": TorchvisionSet(47, 1880, "dtd", **_parts(val="val")),
    "EMNIST": TorchvisionSet(
        47, 112800, "EMNIST", 28, True,
        {"split": "balanced", "train": True}, {"split": "balanced", "train": False}, flips=False,
    ),
    "EuroSAT": TorchvisionSet(10, 27000, "eurosat", 64, **_WHOLE),
    "FER2013": TorchvisionSet(7, 28709, "fer2013", 48, True, **_parts(), manual="fer2013.csv from Kaggle"),
    "FGVCAircraft": TorchvisionSet(100, 3334, "fgvc-aircraft-2013b", **_parts(val="val")),
    "FashionMNIST": TorchvisionSet(10, 60000, "FashionMNIST", 28, True, stats=FASHION_MNIST_STATS),
    "Flowers102": TorchvisionSet(102, 1020, "flowers-102", **_parts(val="val")),
    "Food101": TorchvisionSet(101, 75750, "food-101", **_parts()),
    "GTSRB": TorchvisionSet(43, 26640, "gtsrb", **_parts(), flips=False),
    "Imagenette": TorchvisionSet(10, 9469, "imagenette2-160", **_parts(test="val", size="160px")),
    "KMNIST": TorchvisionSet(10, 60000, "KMNIST", 28, True, flips=False),
    "MNIST": TorchvisionSet(10, 60000, "MNIST", 28, True, stats=((0.1307,) * 3, (0.3081,) * 3), flips=False),
    "OxfordIIITPet": TorchvisionSet(37, 3680, "oxford-iiit-pet", **_parts(train="trainval")),
    "PCAM": TorchvisionSet(2, 262144, "pcam", 96, **_parts(val="val"), needs="h5py and gdown"),
    "Places365": TorchvisionSet(
        365, 1803460, "data_256_standard", **_parts(train="train-standard", test="val", small=True)
    ),
    "RenderedSST2": TorchvisionSet(2, 6920, "rendered-sst2", **_parts(val="val"), flips=False),
    "SEMEION": TorchvisionSet(10, 1593, "semeion.data", 16, True, **_WHOLE, flips=False),
    "STL10": TorchvisionSet(10, 5000, "stl10_binary", 96, **_parts()),
    "SUN397": TorchvisionSet(397, 108754, "SUN397", **_WHOLE),
    "SVHN": TorchvisionSet(10, 73257, "train_32x32.mat", 32, **_parts(), flips=False),
    "StanfordCars": TorchvisionSet(
        196, 8144, "stanford_cars", **_parts(),
        manual="the folders cars_train, cars_test and devkit, and cars_test_annos_withlabels.mat",
    ),
    "USPS": TorchvisionSet(10, 7291, "usps.bz2", 16, True, flips=False),
}  # fmt: skip
"""By the name of the class in ``torchvision.datasets``."""
