"""Base class of the readers of downloaded image sets, and checks of the downloaded files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from torchvision.datasets import VisionDataset

from .images import read_image


class ListedImages(VisionDataset):
    """Images given by a list of paths and labels.

    Args:
        root: folder of the download.
        paths: paths of the images.
        targets: their labels.
        classes: names of the classes, by label.
        train: whether these are the training images.
        transform: called on the PIL image.
        target_transform: called on the label.
    """

    def __init__(
        self,
        root: str | Path,
        paths: Sequence[Path],
        targets: Sequence[int],
        classes: Sequence[str],
        *,
        train: bool,
        transform: Callable[[Image.Image], Any] | None,
        target_transform: Callable[[int], Any] | None,
    ) -> None:
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.train = train
        self.paths = [str(path) for path in paths]
        self.targets = list(targets)
        self.classes = list(classes)
        self.class_to_idx = {name: label for label, name in enumerate(self.classes)}

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        """Return image and label number ``index``, each after its transform."""
        image: Any = read_image(self.paths[index])
        target: Any = self.targets[index]
        if self.transform is not None:
            image = self.transform(image)
        if self.target_transform is not None:
            target = self.target_transform(target)
        return image, target

    def extra_repr(self) -> str:
        """Show the split."""
        return f"Split: {'Train' if self.train else 'Test'}"


def check_root(owner: str, root: str | Path, train: object, needed: Sequence[str], *, name: str) -> Path:
    """Return the folder of a download: ``root``, or the folder in it that unpacking made.

    Args:
        owner: name of the data set's class.
        root: the user's ``root``.
        train: the user's ``train``.
        needed: files and folders that must exist.
        name: name of the folder in the archive.

    Raises:
        ValueError: if ``train`` is not a bool, or the folder or something in it is missing.
    """
    if not isinstance(train, bool):
        raise ValueError(f"train must be True or False, found {train!r}")
    folder = Path(root)
    if not folder.is_dir():
        raise ValueError(f"root of {owner} must be the unpacked download, found no folder {str(root)!r}")
    for inside in (folder, folder / name, folder / folder.resolve().name):
        if all((inside / part).exists() for part in needed):
            return inside
    folder = folder / name if (folder / name).is_dir() else folder
    missing = [part for part in needed if not (folder / part).exists()]
    raise ValueError(
        f"root of {owner} must be the unpacked download, but {str(folder)!r} has no {' and no '.join(missing)}"
    )


def read_rows(path: Path, columns: int) -> list[list[str]]:
    """Return the words of every line.

    Args:
        path: path of a text file.
        columns: least number of words per line.

    Raises:
        ValueError: on a line with fewer, no line at all, or another encoding.
    """
    try:
        # Notepad writes a byte order mark.
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must be UTF-8 text: save it as UTF-8, or unpack the download again") from error
    rows = [line.split() for line in text.splitlines() if line.strip()]
    short = [number for number, row in enumerate(rows, 1) if len(row) < columns]
    if short:
        raise ValueError(f"{path}, line {short[0]} must have {columns} words, found {len(rows[short[0] - 1])}")
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
