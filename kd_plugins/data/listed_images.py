"""What the readers of downloaded image sets share: a list of files with labels, and errors on what is missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from torchvision.datasets import VisionDataset

from .images import read_image


class ListedImages(VisionDataset):
    """Images that a list of paths and labels names.

    Args:
        root: folder of the download.
        paths: of the images.
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
    """Return the folder of a download: ``root``, or one in it that unpacking has made.

    Args:
        owner: name of the data set's class.
        root: as the user gives it.
        train: likewise.
        needed: what the folder must hold.
        name: of the folder in the archive.

    Raises:
        ValueError: when ``train`` is no bool, or the folder or something in it is missing.
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
        path: of a text file.
        columns: how many words a line must have, at least.

    Raises:
        ValueError: on a line with fewer, no line at all, or another encoding.
    """
    try:
        # Notepad begins a file with a byte order mark.
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no UTF-8 text: save it as such, or unpack it anew") from error
    rows = [line.split() for line in text.splitlines() if line.strip()]
    short = [number for number, row in enumerate(rows, 1) if len(row) < columns]
    if short:
        raise ValueError(f"{path}, line {short[0]}: {columns} words are expected, found {len(rows[short[0] - 1])}")
    if not rows:
        raise ValueError(f"{path} is empty")
    return rows


def check_files(owner: str, paths: Sequence[Path]) -> None:
    """Raise ``ValueError`` when images of the list are missing, with the first of them."""
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise ValueError(
            f"{owner}: {len(missing)} of {len(paths)} images are missing, {missing[0]} for one; unpack it anew"
        )
