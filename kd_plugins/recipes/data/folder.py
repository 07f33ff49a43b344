"""The user's own images in torchvision's ImageFolder layout."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ..._names import nearest
from ..._stray import is_stray_file, is_stray_folder

FOLDER_PREFIX = "folder:"
SPLITS = ("train", "val", "test")
IMAGES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
LAYOUT = "the layout is ROOT/train/CLASS/image.jpg and ROOT/val/CLASS/image.jpg (test beside or in place of val)"


@dataclass(frozen=True)
class Folder:
    """A folder of images."""

    root: str
    splits: tuple[str, ...]  # those of train, val and test that exist
    classes: int
    paths: tuple[str, ...]  # of the training images
    least: int  # training images of the smallest class
    stray: tuple[str, ...] = ()  # folders beside the classes that are no classes


def read_folder(path: str) -> Folder:
    """Inspect the names in a folder that contains ``train`` and ``val`` or ``test``.

    Raises:
        ValueError: if the folder, a split, classes, images, or a class in one of the splits is missing.
    """
    root = os.path.normpath(path)
    if not path or not os.path.isdir(root):
        raise ValueError(f"{FOLDER_PREFIX}{path} names no folder; {LAYOUT}")
    inside = _folders(root)
    splits = tuple(split for split in SPLITS if split in inside)
    if "train" not in splits:
        found = f"found {', '.join(inside[:5]) or 'no folder'}{', ...' if len(inside) > 5 else ''}"
        close = nearest("train", inside)
        hint = f"; is {close[0]!r} meant?" if close else ""
        raise ValueError(f"{FOLDER_PREFIX}{path} has no folder train ({found}{hint}); {LAYOUT}")
    if len(splits) == 1:
        raise ValueError(f"{FOLDER_PREFIX}{path} has train and neither val nor test to measure on; {LAYOUT}")
    classes = {split: _folders(os.path.join(root, split)) for split in splits}
    for split, names in classes.items():
        if not names:
            raise ValueError(f"{FOLDER_PREFIX}{path}: {split} has no folder a class; {LAYOUT}")
        for name in names:
            if not _images(os.path.join(root, split, name)):
                raise ValueError(
                    f"{FOLDER_PREFIX}{path}: {split}/{name} has no image ({', '.join(IMAGES[:4])}, ...); remove the "
                    "folder or put images there"
                )
        lacking = sorted(set(classes["train"]) ^ set(names))
        if lacking:
            raise ValueError(
                f"{FOLDER_PREFIX}{path}: train and {split} must have the same classes, but {', '.join(lacking[:5])} "
                f"{'is' if len(lacking) == 1 else 'are'} only in one of them"
            )
    if len(classes["train"]) < 2:
        raise ValueError(f"{FOLDER_PREFIX}{path} has one class, {classes['train'][0]}; at least two are needed")
    images = [_images(os.path.join(root, "train", name)) for name in classes["train"]]
    stray = tuple(f"{split}/{name}" for split in splits for name in _folders(os.path.join(root, split), stray=True))
    paths = tuple(path for own in images for path in own)
    return Folder(root, splits, len(classes["train"]), paths, min(map(len, images)), stray)


def _folders(path: str, *, stray: bool = False) -> list[str]:
    """Return the names of the folders that may be classes, or of the stray ones."""
    with os.scandir(path) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and is_stray_folder(entry.name) is stray)


def _images(path: str) -> list[str]:
    files = (os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names)
    return sorted(file for file in files if file.lower().endswith(IMAGES) and not is_stray_file(file))
