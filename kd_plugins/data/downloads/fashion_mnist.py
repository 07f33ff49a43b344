"""Fashion-MNIST: torchvision's download, or the files of Debian's package."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torchvision.datasets import FashionMNIST as Downloaded

from ..listed_images import LabelledImages, check_flag

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package ``dataset-fashion-mnist`` puts its files."""

MAGIC = {1: 2049, 3: 2051}
"""The first number of an idx file of bytes, by the number of its dimensions."""


class FashionMNIST(LabelledImages):
    """Fashion-MNIST as 28x28 RGB images, which networks for CIFAR take.

    The files are looked for in ``root`` itself, in ``root/FashionMNIST/raw``, where torchvision's download lies, and
    where Debian's package ``dataset-fashion-mnist`` puts them. They may be gzipped.

    Args:
        root: folder of the data.
        train: True for the 60,000 training images, False for the 10,000 test images.
        download: whether torchvision downloads the files to ``root`` if they are nowhere.
        transform: called on the PIL image.
        target_transform: called on the label.

    Attributes:
        classes: the names of the ten classes, by label.
        data: images as uint8, shape (N, 28, 28).
        targets: N labels.

    Raises:
        ValueError: if the files are missing, damaged or of another format.

    References:
        Xiao, Rasul and Vollgraf, Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms,
        2017.

    Example:
        >>> FashionMNIST("./data", train="yes")
        Traceback (most recent call last):
        ValueError: train must be True or False, found 'yes'
    """

    def __init__(
        self,
        root: str | Path = "./data",
        *,
        train: bool = True,
        download: bool = False,
        transform: Callable[[Image.Image], Any] | None = None,
        target_transform: Callable[[int], Any] | None = None,
    ) -> None:
        check_flag("train", train)
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.train = train
        part = "train" if train else "t10k"
        self.data = read_idx(_found(root, f"{part}-images-idx3-ubyte", download=download), 3)
        labels = read_idx(_found(root, f"{part}-labels-idx1-ubyte", download=download), 1).tolist()
        if len(self.data) != len(labels):
            raise ValueError(
                f"Fashion-MNIST in {root} has {len(self.data)} {part} images and {len(labels)} labels: download it "
                "again"
            )
        self._set_labels(labels, Downloaded.classes)

    def _image(self, index: int) -> Image.Image:
        return Image.fromarray(self.data[index]).convert("RGB")


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """Return the bytes of an idx file, gzipped or not; labels have one dimension, images three.

    Raises:
        ValueError: on a damaged file or one of another format.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError) as error:
        raise ValueError(f"{path} cannot be read: {error}; download it again") from error
    begin = 4 * (1 + dimensions)
    header = np.frombuffer(content[:begin], ">u4").tolist() if len(content) >= begin else [0]
    shape, values = header[1:], np.frombuffer(content[begin:], np.uint8)
    if header[0] != MAGIC[dimensions] or values.size != np.prod(shape):
        raise ValueError(f"{path} is damaged or is no idx file of {dimensions} dimensions: download it again")
    return values.reshape(shape)


def _found(root: str | Path, name: str, *, download: bool) -> Path:
    folders = [Path(root), Path(root) / "FashionMNIST" / "raw", DEBIAN]
    for folder in folders:
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                return path
    if download:
        try:
            Downloaded(root, download=True)
        except (OSError, RuntimeError) as error:
            raise ValueError(
                f"Fashion-MNIST cannot be downloaded to {root} ({error}): put its four files there, or install "
                "Debian's package dataset-fashion-mnist"
            ) from error
        return _found(root, name, download=False)
    raise ValueError(
        f"Fashion-MNIST has no {name}(.gz) in {', '.join(map(str, folders))}: set download: True, put its four files "
        "there, or install Debian's package dataset-fashion-mnist"
    )
