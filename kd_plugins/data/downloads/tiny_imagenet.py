"""Tiny-ImageNet-200 data set, read from the unpacked download."""

from __future__ import annotations

from pathlib import Path

from ..._stray import is_stray_file
from ..listed_images import ListedImages, check_files, check_root, read_rows

ANNOTATIONS = "val/val_annotations.txt"
SUFFIXES = (".jpeg", ".jpg", ".png")


class TinyImageNet(ListedImages):
    """The 100,000 training or 10,000 validation images of 64x64 pixels, in 200 classes.

    The folder is the unpacked ``tiny-imagenet-200.zip``: ``wnids.txt``, ``train/<class>/images/`` and ``val/images/``
    with ``val/val_annotations.txt``. A folder whose validation images were sorted into ``val/<class>/images/`` or
    ``val/<class>/``, as some scripts do, is read too. The images of ``test/`` have no public labels. Labels are the
    places of the classes in their sorted names, as torchvision's ``ImageFolder`` numbers them.

    Args:
        root: the folder, or the one that holds it.
        train: True for the training images, False for the validation images.
        transform: called on the PIL image.
        target_transform: called on the label.

    Attributes:
        classes: WordNet names, by label.
        class_to_idx: label of each class name.
        targets: labels.

    Raises:
        ValueError: if a file is missing or damaged.

    References:
        Le and Yang, Tiny ImageNet Visual Recognition Challenge, 2015.

    Example:
        In a config: ``{key: kd_plugins.data.TinyImageNet, init: {kwargs: {root: ./data/tiny-imagenet-200, train:
        True}}}``.

        >>> TinyImageNet("nowhere")
        Traceback (most recent call last):
        ValueError: root of TinyImageNet must be the unpacked download, found no folder 'nowhere'
    """

    def _listed(self, root: Path, train: bool) -> tuple[list[Path], list[int], list[str]]:
        folder = check_root("TinyImageNet", root, ["wnids.txt", "train" if train else "val"], name="tiny-imagenet-200")
        classes = sorted(row[0] for row in read_rows(folder / "wnids.txt", 1))
        labels = {name: label for label, name in enumerate(classes)}
        listed = _sorted(folder / "train", classes) if train else _validation(folder, classes)
        return [path for path, _ in listed], [labels[name] for _, name in listed], classes


def _validation(folder: Path, classes: list[str]) -> list[tuple[Path, str]]:
    annotations = folder / ANNOTATIONS
    # Scripts that sort the images may leave an empty folder.
    if annotations.is_file() and _images(folder / "val" / "images"):
        rows = read_rows(annotations, 2)
        unknown = sorted({row[1] for row in rows} - set(classes))
        if unknown:
            raise ValueError(f"{annotations} names the class {unknown[0]}, which wnids.txt lacks")
        listed = [(folder / "val" / "images" / row[0], row[1]) for row in rows]
        check_files("TinyImageNet", [path for path, _ in listed])
        return listed
    if not any((folder / "val" / name).is_dir() for name in classes):
        raise ValueError(
            f"root of TinyImageNet must be the unpacked download, but {str(folder)!r} has neither {ANNOTATIONS} beside "
            "val/images nor one folder per class in val"
        )
    return _sorted(folder / "val", classes)


def _sorted(split: Path, classes: list[str]) -> list[tuple[Path, str]]:
    """Return the images of a split with one folder per class, in order."""
    listed = []
    for name in classes:
        if not (split / name).is_dir():
            raise ValueError(f"TinyImageNet: {split} has no folder {name}, a class of wnids.txt")
        images = _images(split / name / "images") or _images(split / name)
        if not images:
            raise ValueError(f"TinyImageNet: {split / name} has no image")
        listed += [(path, name) for path in images]
    return listed


def _images(folder: Path) -> list[Path]:
    """Return the images of a folder, in order; an empty list if there is no folder."""
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(path for path in found if path.suffix.lower() in SUFFIXES and not is_stray_file(path.name))
