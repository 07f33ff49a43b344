"""The data sets of recipes: class, augmentation, normalisation, number of classes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..._names import enumerated, unknown_name
from ...pairs.models import CIFAR, CNN, IMAGENET_STATS, VIT, Model
from .folder import FOLDER_PREFIX, read_folder

Step = tuple[str, Mapping[str, Any]]
"""A class of torchvision.transforms and its keywords."""
Split = tuple[str, Mapping[str, Any]]
"""A data set's class and its keywords."""

CIFAR100_STATS = ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761))
CIFAR10_STATS = ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
DIGITS_STATS = ((0.3094, 0.3094, 0.3094), (0.3488, 0.3488, 0.3488))


@dataclass(frozen=True)
class Dataset:
    """A data set."""

    name: str  # on the command line and in file names
    title: str  # in comments
    classes: int
    size: int  # of the images; 0 if they differ
    family: str  # CIFAR or CNN: which of two networks of the same name is meant
    stats: tuple[Sequence[float], Sequence[float]]  # mean and standard deviation of each channel
    train: Split = ("", {})
    test: Split = ("", {})
    val: Split | None = None  # images that choose the best epoch; None if the test images do
    policy: str = "imagenet"  # AutoAugment's, for a strong second view
    note: str = ""  # a sentence for the head of a config
    images: int = 0  # for training; 0 for a subset, which has no list of labels
    own: bool = False  # whether it is a folder of the user's

    def size_for(self, student: Model) -> int:
        """Return height and width of the images that the loader gives a student."""
        if student.family != CIFAR:
            return student.input_size
        return self.size or student.input_size


def _splits(key: str, root: str, **kwargs: Any) -> tuple[Split, Split]:
    return (key, {"root": root, "train": True, **kwargs}), (key, {"root": root, "train": False, **kwargs})


def _folder(path: str) -> Split:
    return ("torchvision.datasets.ImageFolder", {"root": path})


DATASETS: dict[str, Dataset] = {
    dataset.name: dataset
    for dataset in (
        Dataset(
            "cifar10", "CIFAR-10", 10, 32, CIFAR, CIFAR10_STATS,
            *_splits("torchvision.datasets.CIFAR10", "./data", download=True), policy="cifar10", images=50000,
        ),
        Dataset(
            "cifar100", "CIFAR-100", 100, 32, CIFAR, CIFAR100_STATS,
            *_splits("torchvision.datasets.CIFAR100", "./data", download=True), policy="cifar10", images=50000,
        ),
        Dataset(
            "imagenet", "ImageNet", 1000, 224, CNN, IMAGENET_STATS,
            _folder("./data/imagenet/train"), _folder("./data/imagenet/val"),
            note="The images lie in ./data/imagenet/train and ./data/imagenet/val, a folder a class.",
            images=1281167,
        ),
        Dataset(
            "tiny-imagenet", "Tiny-ImageNet", 200, 64, CIFAR, IMAGENET_STATS,
            *_splits("kd_plugins.data.TinyImageNet", "./data/tiny-imagenet-200"),
            note="The images lie in ./data/tiny-imagenet-200, as they were downloaded. The papers do not tell their "
            "augmentation: 64x64, a crop after 8 pixels of padding and a flip here.",
            images=100000,
        ),
        Dataset(
            "cub200", "CUB-200-2011", 200, 224, CIFAR, IMAGENET_STATS,
            *_splits("kd_plugins.data.CUB200", "./data/CUB_200_2011"),
            note="The images lie in ./data/CUB_200_2011, as they were downloaded. The paper does not tell their size: "
            "224x224 here.",
            images=5994,
        ),
        Dataset("digits", "handwritten digits", 10, 32, CIFAR, DIGITS_STATS),
    )
}  # fmt: skip


def find_dataset(name: str) -> Dataset:
    """Return the data set of a name or of ``folder:PATH``.

    Raises:
        ValueError: for an unknown name or a folder of another layout.
    """
    if name.startswith(FOLDER_PREFIX):
        folder = read_folder(name.removeprefix(FOLDER_PREFIX))
        # The name goes into YAML keys and file names.
        name = re.sub(r"[^\w.-]+", "_", Path(folder.root).resolve().name) or "folder"
        # A known name would select the settings and weights of that data set.
        name += "_folder" if name in DATASETS else ""
        splits = {split: _folder(f"{folder.root}/{split}") for split in folder.splits}
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
    """Steps for training images before ``ToTensor``, for test images, and for training images after ``Normalize``."""

    train: tuple[Step, ...]
    test: tuple[Step, ...] = ()
    after: tuple[Step, ...] = ()


_FLIP: Step = ("RandomHorizontalFlip", {"p": 0.5})


def augmentation(dataset: Dataset, student: Model, size: int) -> Augmentation:
    """Return the papers' augmentation for images of ``size`` pixels."""
    crop: Step = ("RandomResizedCrop", {"size": size, "scale": [0.08, 1.0]})
    if size <= 64:
        if dataset.size == size:
            return Augmentation((("RandomCrop", {"size": size, "padding": size // 8}), _FLIP))
        return Augmentation((crop, _FLIP), (("Resize", {"size": [size, size]}),))
    test: tuple[Step, ...] = (("Resize", {"size": round(size * 256 / 224)}), ("CenterCrop", {"size": size}))
    if 0 < dataset.size <= 64:
        test = (("Resize", {"size": size}),)
    if student.family == VIT:
        return Augmentation(
            (crop, _FLIP, ("RandAugment", {"num_ops": 2, "magnitude": 9})), test, (("RandomErasing", {"p": 0.25}),)
        )
    return Augmentation((crop, _FLIP), test)
