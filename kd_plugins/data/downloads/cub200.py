"""CUB-200-2011 data set, read from the unpacked download."""

from __future__ import annotations

from pathlib import Path

from ..listed_images import ListedImages, check_files, check_root, read_rows

TABLES = ("classes.txt", "images.txt", "image_class_labels.txt", "train_test_split.txt")


class CUB200(ListedImages):
    """The 5,994 training or 5,794 test photographs of birds, in 200 classes.

    The folder is ``CUB_200_2011`` of the unpacked ``CUB_200_2011.tgz``: ``images/`` and the tables ``classes.txt``,
    ``images.txt``, ``image_class_labels.txt`` and ``train_test_split.txt``. Labels are the tables' minus one.

    Args:
        root: the folder, or the one that holds it.
        train: True for the training images, False for the test images.
        transform: called on the PIL image.
        target_transform: called on the label.

    Attributes:
        classes: names such as ``001.Black_footed_Albatross``, by label.
        class_to_idx: label of each class name.
        targets: labels.

    Raises:
        ValueError: if a file is missing or damaged.

    References:
        Wah et al., The Caltech-UCSD Birds-200-2011 Dataset, 2011.

    Example:
        In a config: ``{key: kd_plugins.data.CUB200, init: {kwargs: {root: ./data/CUB_200_2011, train: True}}}``.

        >>> CUB200("nowhere")
        Traceback (most recent call last):
        ValueError: root of CUB200 must be the unpacked download, found no folder 'nowhere'
    """

    def _listed(self, root: Path, train: bool) -> tuple[list[Path], list[int], list[str]]:
        folder = check_root("CUB200", root, [*TABLES, "images"], name="CUB_200_2011")
        names, files, labels, splits = (_table(folder / table) for table in TABLES)
        for table, column in zip(TABLES[2:], (labels, splits), strict=True):
            lacking = sorted(set(files) ^ set(column), key=int)
            if lacking:
                raise ValueError(
                    f"{folder}: image {lacking[0]} is in only one of images.txt and {table}; unpack the download again"
                )
        unknown = sorted(set(labels.values()) - set(names), key=int)
        if unknown:
            raise ValueError(f"{folder}: image_class_labels.txt has class {unknown[0]}, which classes.txt lacks")
        ordered = sorted(names, key=int)
        position = {key: label for label, key in enumerate(ordered)}
        chosen = [key for key in files if (splits[key] == "1") is train]
        if not chosen:
            raise ValueError(f"{folder / TABLES[3]} names no {'training' if train else 'test'} image")
        paths = [folder / "images" / files[key] for key in chosen]
        check_files("CUB200", paths)
        return paths, [position[labels[key]] for key in chosen], [names[key] for key in ordered]


def _table(path: Path) -> dict[str, str]:
    """Return the two columns of a table as a mapping."""
    rows = read_rows(path, 2)
    for line, row in enumerate(rows, 1):
        if not row[0].isdigit():
            raise ValueError(f"{path}, line {line} must begin with a number, found {row[0]!r}")
    return {row[0]: row[1] for row in rows}
