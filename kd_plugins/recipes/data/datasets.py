"""The data sets of recipes: class, augmentation, normalisation, number of classes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..._names import enumerated, unknown_name
from ...pairs.models import CIFAR, CNN, IMAGENET_STATS, Model
from .folder import FOLDER_PREFIX, read_folder
from .measured import Stats, file_stats, short_side, torchvision_stats
from .torchvision_sets import (
    CIFAR10_STATS,
    CIFAR100_STATS,
    FASHION_MNIST_STATS,
    SETS,
    TORCHVISION_PREFIX,
    TorchvisionSet,
)

Step = tuple[str, Mapping[str, Any]]
"""A class of torchvision.transforms and its keywords."""
Source = tuple[str, Mapping[str, Any]]
"""A data set's class and its keywords; ``dataset`` is another source, of which the class takes a part."""

ROOT = "./data"
TEST_SHARE = 0.2
"""Of a set without test images."""
SMALL = {40: 32, 80: 64}
"""Median of the shorter sides of a folder's images, at most -> height and width for the models."""
PADDED = {28: 32}
"""Size of the images -> size for networks for CIFAR."""

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
    train: Source = ("", {})
    test: Source = ("", {})
    val: Source | None = None  # images that choose the best epoch; None if the test images do
    policy: str = "imagenet"  # AutoAugment's, for a strong second view
    note: str = ""  # a sentence for the head of a config
    images: int = 0  # for training; 0 for a subset, which has no list of labels
    tabled: bool = False  # whether the papers' tables have it
    flips: bool = True  # whether a mirrored image keeps its class
    first: tuple[Step, ...] = ()  # steps before all others
    augment: str = ""  # of AUGMENTS; empty for the papers' augmentation
    loaded: int = 0  # height and width for models that take any; 0 for the model's
    measure: Callable[[], tuple[Stats, int] | None] | None = None  # of ``stats``; None if they are known
    least: int = 0  # images of the smallest class; 0 if unknown
    side: int = 0  # median of the shorter sides of small images
    val_is_test: bool = False  # whether the test images are the user's validation images
    told: tuple[str, ...] = ()  # sentences for the head of a config about the request's choices
    real: Dataset | None = None  # of synthetic images: the images that validate

    def size_for(self, model: Model) -> int:
        """Return height and width of the images that a model is trained on."""
        if self.loaded and model.resizable:
            return self.loaded
        if model.family != CIFAR or not model.resizable:
            return model.input_size
        return PADDED.get(self.size, self.size) or model.input_size


def _splits(key: str, root: str, **kwargs: Any) -> tuple[Source, Source]:
    return (key, {"root": root, "train": True, **kwargs}), (key, {"root": root, "train": False, **kwargs})


def _folder(path: str) -> Source:
    return ("torchvision.datasets.ImageFolder", {"root": path})


DATASETS: dict[str, Dataset] = {
    dataset.name: dataset
    for dataset in (
        Dataset(
            "cifar10", "CIFAR-10", 10, 32, CIFAR, CIFAR10_STATS,
            *_splits("torchvision.datasets.CIFAR10", ROOT, download=True), policy="cifar10", images=50000, tabled=True,
        ),
        Dataset(
            "cifar100", "CIFAR-100", 100, 32, CIFAR, CIFAR100_STATS,
            *_splits("torchvision.datasets.CIFAR100", ROOT, download=True), policy="cifar10", images=50000, tabled=True,
        ),
        Dataset(
            "imagenet", "ImageNet", 1000, 224, CNN, IMAGENET_STATS,
            _folder("./data/imagenet/train"), _folder("./data/imagenet/val"),
            note="The images lie in ./data/imagenet/train and ./data/imagenet/val, a folder a class.",
            images=1281167, tabled=True,
        ),
        Dataset(
            "tiny-imagenet", "Tiny-ImageNet", 200, 64, CIFAR, IMAGENET_STATS,
            *_splits("kd_plugins.data.TinyImageNet", "./data/tiny-imagenet-200"),
            note="The images lie in ./data/tiny-imagenet-200, as they were downloaded. The papers do not tell their "
            "augmentation: 64x64, a crop after 8 pixels of padding and a flip here.",
            images=100000, tabled=True,
        ),
        Dataset(
            "cub200", "CUB-200-2011", 200, 224, CIFAR, IMAGENET_STATS,
            *_splits("kd_plugins.data.CUB200", "./data/CUB_200_2011"),
            note="The images lie in ./data/CUB_200_2011, as they were downloaded. The paper does not tell their size: "
            "224x224 here.",
            images=5994, tabled=True,
        ),
        Dataset("digits", "handwritten digits", 10, 32, CIFAR, DIGITS_STATS, tabled=True, flips=False),
        Dataset(
            "fashion-mnist", "Fashion-MNIST", 10, 28, CIFAR, FASHION_MNIST_STATS,
            *_splits("kd_plugins.data.FashionMNIST", ROOT, download=True), images=60000, augment="crop-flip",
        ),
    )
}  # fmt: skip


def find_dataset(name: str) -> Dataset:
    """Return the data set of a name, of ``folder:PATH`` or of ``torchvision:NAME``.

    Raises:
        ValueError: for an unknown name or a folder of another layout.
    """
    if name.startswith(FOLDER_PREFIX):
        return _own(name.removeprefix(FOLDER_PREFIX))
    if name.startswith(TORCHVISION_PREFIX):
        return _torchvision(name.removeprefix(TORCHVISION_PREFIX))
    spelled = name.lower().replace("_", "-")
    for known in (name, spelled, spelled.replace("-", "")):
        if known in DATASETS:
            return DATASETS[known]
    error = str(unknown_name("dataset", name, DATASETS))
    end = "" if error.endswith("?") else "."
    raise ValueError(
        f"{error}{end} Own images are {FOLDER_PREFIX}PATH, other sets {TORCHVISION_PREFIX}NAME; detectors have "
        "coco and canvas-digits"
    )


def part_of(source: Source, part: str, **kwargs: Any) -> Source:
    """Return one of two disjoint parts of a data set, see :class:`kd_plugins.data.Split`."""
    return "kd_plugins.data.Split", {"dataset": source, "part": part, **kwargs}


def _own(path: str) -> Dataset:
    folder = read_folder(path)
    # The name goes into YAML keys and file names.
    name = re.sub(r"[^\w.-]+", "_", Path(folder.root).resolve().name) or "folder"
    # A known name would select the settings and weights of that data set.
    name += "_folder" if name in DATASETS else ""
    splits = {split: _folder(f"{folder.root}/{split}") for split in folder.splits}
    stray = f"Delete {enumerated(folder.stray)} first: ImageFolder would count such folders as classes."
    side = short_side(folder.paths)
    loaded = next((size for most, size in SMALL.items() if side is not None and side <= most), 0)
    both = "The images in val choose the best epoch and are the test images, too: make a folder test for others."
    val_is_test = "test" not in splits
    return Dataset(
        name, f"the images of {folder.root}", folder.classes, 0, CIFAR if loaded else CNN, IMAGENET_STATS,
        splits["train"], splits.get("test") or splits["val"], None if val_is_test else splits.get("val"),
        note=stray if folder.stray else "", images=len(folder.paths),
        augment="crop-flip" if loaded else "imagenet", loaded=loaded, measure=partial(file_stats, folder.paths),
        least=folder.least, val_is_test=val_is_test, told=(both,) if val_is_test else (),
        side=side or 0 if loaded else 0,
    )  # fmt: skip


def _torchvision(name: str) -> Dataset:
    if name not in SETS:
        raise unknown_name("classification set of torchvision", name, SETS)
    found = SETS[name]
    common = {"root": ROOT, **({} if found.manual else {"download": True})}

    def source(kwargs: Mapping[str, Any]) -> Source:
        return f"torchvision.datasets.{name}", {**common, **kwargs}

    train, images = source(found.train), found.images
    if found.test is None:
        train, test = (part_of(train, part, val_share=TEST_SHARE) for part in ("train", "val"))
        images -= round(TEST_SHARE * images)
    else:
        test = source(found.test)
    first: list[Step] = [("Grayscale", {"num_output_channels": 3})] if found.grey else []
    if found.mixed:
        first.append(("v2.RGB", {}))
    known = name.lower()
    return Dataset(
        known + ("_torchvision" if known in DATASETS else ""), f"torchvision's {name}", found.classes, found.size,
        CIFAR if 0 < found.size <= 64 else CNN, found.stats or IMAGENET_STATS, train, test,
        None if found.val is None else source(found.val), policy={"SVHN": "svhn"}.get(name, "imagenet"),
        note=_note(found), images=images, flips=found.flips, first=tuple(first),
        augment="crop-flip" if found.size else "imagenet",
        measure=None if found.stats else partial(torchvision_stats, name, ROOT, found.files, found.train),
    )  # fmt: skip


def _note(found: TorchvisionSet) -> str:
    """Return the sentences about what a set of torchvision needs."""
    sentences = []
    if found.needs:
        sentences.append(f"To get the data set, torchvision needs: pip install {found.needs.replace(' and', '')}.")
    if found.manual:
        sentences.append(f"torchvision does not download it: put {found.manual} into {ROOT}/{found.files}.")
    if found.test is None:
        sentences.append(f"The set has no test images: {TEST_SHARE} of it, drawn by class and always the same, are.")
    return " ".join(sentences)
