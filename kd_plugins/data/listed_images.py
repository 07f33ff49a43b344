"""Base classes of the package's image sets, and checks of downloaded files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from torchvision.datasets import VisionDataset
from torchvision.datasets.vision import StandardTransform

from .images import read_image


class LabelledImages(VisionDataset, ABC):
    """Images with class indices; a subclass sets both by :meth:`_set_labels` and returns an image by :meth:`_image`."""

    train: bool | None = None

    def _set_labels(self, targets: Sequence[int], classes: Sequence[str]) -> None:
        self.targets, self.classes = list(targets), list(classes)
        self.class_to_idx = {name: label for label, name in enumerate(self.classes)}

    @abstractmethod
    def _image(self, index: int) -> Image.Image:
        """Return an image before the transform."""

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        """Return image and label number ``index``, each after its transform."""
        target: Any = self.targets[index]
        image: Any = self._image(index)
        # As in torchvision, attributes assigned later take effect.
        if self.transforms is not None and not isinstance(self.transforms, StandardTransform):
            return self.transforms(image, target)
        if self.transform is not None:
            image = self.transform(image)
        if self.target_transform is not None:
            target = self.target_transform(target)
        return image, target

    def extra_repr(self) -> str:
        """Return the line of ``repr`` with the split."""
        return f"Split: {'Train' if self.train else 'Test'}"


class ListedImages(LabelledImages):
    """Images of a download in ``root`` or in a folder of it, whose paths and labels a subclass lists."""

    def __init__(
        self,
        root: str | Path,
        train: bool = True,
        transform: Callable[[Image.Image], Any] | None = None,
        target_transform: Callable[[int], Any] | None = None,
    ) -> None:
        check_flag("train", train)
        paths, targets, classes = self._listed(Path(root), train)
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.train = train
        self.paths = [str(path) for path in paths]
        self._set_labels(targets, classes)

    @abstractmethod
    def _listed(self, root: Path, train: bool) -> tuple[list[Path], list[int], list[str]]:
        """Return paths, labels and class names."""

    def _image(self, index: int) -> Image.Image:
        return read_image(self.paths[index])


def check_flag(argument: str, value: object) -> None:
    """Raise ``ValueError`` unless ``value`` is a bool."""
    if not isinstance(value, bool):
        raise ValueError(f"{argument} must be True or False, found {value!r}")


def check_root(owner: str, root: Path, needed: Sequence[str], *, name: str) -> Path:
    """Return the folder of a download: ``root``, or the folder in it that unpacking made, called ``name``.

    Raises:
        ValueError: if the folder or something that is ``needed`` in it is missing; ``owner`` names the data set.
    """
    if not root.is_dir():
        raise ValueError(f"root of {owner} must be the unpacked download, found no folder {str(root)!r}")
    for inside in (root, root / name, root / root.resolve().name):
        if all((inside / part).exists() for part in needed):
            return inside
    folder = root / name if (root / name).is_dir() else root
    missing = [part for part in needed if not (folder / part).exists()]
    raise ValueError(
        f"root of {owner} must be the unpacked download, but {str(folder)!r} has no {' and no '.join(missing)}"
    )


def read_rows(path: Path, columns: int) -> list[list[str]]:
    """Return the words of every line of a text file.

    Raises:
        ValueError: on a line with fewer words than ``columns``, no line at all, or another encoding.
    """
    try:
        # Notepad writes a byte order mark.
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must be UTF-8 text: save it as UTF-8, or unpack the download again") from error
    rows = [line.split() for line in text.splitlines() if line.strip()]
    for number, row in enumerate(rows, 1):
        if len(row) < columns:
            raise ValueError(f"{path}, line {number} must have {columns} words, found {len(row)}")
    if not rows:
        raise ValueError(f"{path} is empty")
    return rows


def check_files(owner: str, paths: Sequence[Path]) -> None:
    """Raise ``ValueError`` if images of the list are missing; the message names the first."""
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise ValueError(
            f"{owner}: {len(missing)} of {len(paths)} images are missing, such as {missing[0]}; unpack the download "
            "again"
        )
