"""The data sets that recipes know: reader, augmentation, normalisation, number of classes."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..._names import enumerated, unknown_name
from ...pairs.models import CIFAR, CNN, IMAGENET_STATS, VIT, Model
from .folder import FOLDER_PREFIX, read_folder

Step = tuple[str, Mapping[str, Any]]
Split = tuple[str, Mapping[str, Any]]

CIFAR100_STATS = ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761))
CIFAR10_STATS = ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
DIGITS_STATS = ((0.3094, 0.3094, 0.3094), (0.3488, 0.3488, 0.3488))


@dataclass(frozen=True)
class Dataset:
    """A data set.

    Attributes:
        name: on the command line and in file names.
        title: in comments.
        classes: how many.
        size: of the images that its own networks take.
        family: of the networks that a name means where two have it: ``CIFAR`` or ``CNN``.
        stats: mean and standard deviation of each channel.
        train: torchvision-style class and its keywords.
        test: the same for the images that are measured on.
        val: the same for images that choose the best epoch; None where the test images do.
        policy: AutoAugment's, for a strong second view.
        note: a sentence for the head of a config.
        images: for training; 0 for a part of a data set, which has no list of labels.
        own: whether it is a folder of the user's.
    """

    name: str
    title: str
    classes: int
    size: int
    family: str
    stats: tuple[Sequence[float], Sequence[float]]
    train: Split = ("", {})
    test: Split = ("", {})
    val: Split | None = None
    policy: str = "imagenet"
    note: str = ""
    images: int = 0
    own: bool = False

    def size_for(self, student: Model) -> int:
        """Return height and width of the images that the loader gives a student."""
        if student.family != CIFAR:
            return student.input_size
        return self.size or student.input_size


def _of_torchvision(name: str, root: str, **kwargs: Any) -> tuple[Split, Split]:
    key = f"torchvision.datasets.{name}"
    return (key, {"root": root, "train": True, **kwargs}), (key, {"root": root, "train": False, **kwargs})


def _of_package(name: str, root: str) -> tuple[Split, Split]:
    key = f"kd_plugins.data.{name}"
    return (key, {"root": root, "train": True}), (key, {"root": root, "train": False})


def _folders(root: str, *names: str) -> tuple[Split, ...]:
    return tuple(("torchvision.datasets.ImageFolder", {"root": f"{root}/{name}"}) for name in names)


_CIFAR10 = _of_torchvision("CIFAR10", "./data", download=True)
_CIFAR100 = _of_torchvision("CIFAR100", "./data", download=True)
_IMAGENET = _folders("./data/imagenet", "train", "val")
_TINY = _of_package("TinyImageNet", "./data/tiny-imagenet-200")
_CUB = _of_package("CUB200", "./data/CUB_200_2011")

DATASETS: dict[str, Dataset] = {
    dataset.name: dataset
    for dataset in (
        Dataset(
            "cifar10", "CIFAR-10", 10, 32, CIFAR, CIFAR10_STATS, _CIFAR10[0], _CIFAR10[1], policy="cifar10",
            images=50000,
        ),
        Dataset(
            "cifar100", "CIFAR-100", 100, 32, CIFAR, CIFAR100_STATS, _CIFAR100[0], _CIFAR100[1], policy="cifar10",
            images=50000,
        ),
        Dataset(
            "imagenet", "ImageNet", 1000, 224, CNN, IMAGENET_STATS, _IMAGENET[0], _IMAGENET[1],
            note="The images lie in ./data/imagenet/train and ./data/imagenet/val, a folder a class.",
            images=1281167,
        ),
        Dataset(
            "tiny-imagenet", "Tiny-ImageNet", 200, 64, CIFAR, IMAGENET_STATS, _TINY[0], _TINY[1],
            note="The images lie in ./data/tiny-imagenet-200, as they were downloaded. The papers do not tell their "
            "augmentation: 64x64, a crop after 8 pixels of padding and a flip here.",
            images=100000,
        ),
        Dataset(
            "cub200", "CUB-200-2011", 200, 224, CIFAR, IMAGENET_STATS, _CUB[0], _CUB[1],
            note="The images lie in ./data/CUB_200_2011, as they were downloaded. The paper does not tell their size: "
            "224x224 here.",
            images=5994,
        ),
        Dataset("digits", "handwritten digits", 10, 32, CIFAR, DIGITS_STATS),
    )
}  # fmt: skip


def find_dataset(name: str) -> Dataset:
    """Return a data set by its name, or what ``folder:PATH`` holds.

    Raises:
        ValueError: on an unknown name, with the nearest; on a folder of another layout, with what is missing.
    """
    if name.startswith(FOLDER_PREFIX):
        folder = read_folder(name.removeprefix(FOLDER_PREFIX))
        # The name goes into YAML keys and file names.
        name = re.sub(r"[^\w.-]+", "_", Path(folder.root).resolve().name) or "folder"
        # Under the name of a known data set, settings and weights of that one would be taken.
        name += "_folder" if name in DATASETS else ""
        splits = dict(zip(folder.splits, _folders(folder.root, *folder.splits), strict=True))
        test = splits.get("test") or splits["val"]
        note = "Mean and standard deviation are ImageNet's."
        if folder.stray:
            note += f" Delete {enumerated(folder.stray)} first: ImageFolder would count such folders as classes."
        return Dataset(
            name, f"the images of {folder.root}", folder.classes, 0, CNN, IMAGENET_STATS,
            splits["train"], test, splits.get("val") if "test" in splits else None,
            note=note, images=folder.images, own=True,
        )  # fmt: skip
    spelled = name.lower().replace("_", "-")
    for known in (name, spelled, spelled.replace("-", "")):
        if known in DATASETS:
            return DATASETS[known]
    error = str(unknown_name("dataset", name, DATASETS))
    end = "" if error.endswith("?") else "."
    raise ValueError(f"{error}{end} Own images are {FOLDER_PREFIX}PATH")


@dataclass(frozen=True)
class Augmentation:
    """What happens to an image before it is a tensor, and to the tensor.

    Attributes:
        train: steps of training images, each a class of torchvision.transforms and its keywords.
        after: steps after normalisation.
        test: steps of test images.
    """

    train: tuple[Step, ...]
    test: tuple[Step, ...] = ()
    after: tuple[Step, ...] = dataclasses.field(default=())


_FLIP: Step = ("RandomHorizontalFlip", {"p": 0.5})


def augmentation(dataset: Dataset, student: Model, size: int) -> Augmentation:
    """Return the papers' augmentation for images of ``size`` pixels."""
    if size <= 64:
        if dataset.size == size:
            return Augmentation((("RandomCrop", {"size": size, "padding": size // 8}), _FLIP))
        shrink: Step = ("RandomResizedCrop", {"size": size, "scale": [0.08, 1.0]})
        return Augmentation((shrink, _FLIP), (("Resize", {"size": [size, size]}),))
    crop: Step = ("RandomResizedCrop", {"size": size, "scale": [0.08, 1.0]})
    small = dataset.size and dataset.size <= 64
    test: tuple[Step, ...] = (
        (("Resize", {"size": size}),)
        if small
        else (("Resize", {"size": round(size * 256 / 224)}), ("CenterCrop", {"size": size}))
    )
    if student.family == VIT:
        return Augmentation(
            (crop, _FLIP, ("RandAugment", {"num_ops": 2, "magnitude": 9})), test, (("RandomErasing", {"p": 0.25}),)
        )
    return Augmentation((crop, _FLIP), test)
