"""Images with boxes in COCO's layout: a folder of images and a JSON file of instances."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ..images import read_image
from ..listed_images import check_flag
from .box_images import BoxImages, Target, Transforms, target_of

PARTS = {
    "images": ("id", "file_name"),
    "annotations": ("image_id", "category_id", "bbox"),
    "categories": ("id", "name"),
}
"""Lists that an annotation file needs, and the keys of their entries."""


class CocoBoxes(BoxImages):
    """COCO, or any images with boxes in COCO's format.

    For training, images without a box, crowds and boxes without width or height are left out. Boxes are cut at the
    image's border.

    Args:
        root: folder of the images.
        annotations: the JSON file, such as ``instances_train2017.json``.
        train: True for training.
        transforms: called on image and target.
        contiguous: number the classes 1, 2, ... in the order of their category ids; False keeps the ids, as
            torchvision's COCO weights need them (90 ids for 80 classes).

    Attributes:
        classes: class names by label, from label 1 on.
        category_ids: category id of each class in ``classes``, to write results in COCO's format.

    Raises:
        ValueError: if folder or file is missing, or the file has another format.

    References:
        Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014.

    Example:
        In a config::

            coco/train: !import_call
              key: kd_plugins.data.detection.CocoBoxes
              init:
                kwargs:
                  root: ./data/coco/train2017
                  annotations: ./data/coco/annotations/instances_train2017.json
                  train: True
    """

    def __init__(
        self,
        root: str | Path,
        annotations: str | Path,
        *,
        train: bool = False,
        transforms: Transforms | None = None,
        contiguous: bool = True,
    ) -> None:
        check_flag("train", train)
        check_flag("contiguous", contiguous)
        self.root, self.annotations, self.train, self.transforms = Path(root), Path(annotations), train, transforms
        if not self.root.is_dir():
            raise ValueError(f"root of CocoBoxes must be the folder of the images, found no folder {str(root)!r}")
        content = read_annotations(self.annotations)
        categories = sorted(content["categories"], key=lambda category: category["id"])
        ids = [int(category["id"]) for category in categories]
        names = [str(category["name"]) for category in categories]
        if not contiguous:
            if ids and ids[0] < 1:
                raise ValueError(
                    f"{annotations}: category ids must be 1 or more with contiguous: False, found {ids[0]}"
                )
            named = dict(zip(ids, names, strict=True))
            ids = list(range(1, max(ids, default=0) + 1))
            names = [named.get(number, f"unused {number}") for number in ids]
        self.category_ids, self.classes = ids, names
        self._keep(content, {number: label for label, number in enumerate(ids, 1)})

    def _keep(self, content: dict[str, Any], labels: dict[int, int]) -> None:
        """Keep the annotations as arrays: worker processes share these, but would copy Python objects."""
        by_image: dict[int, list[dict[str, Any]]] = {int(image["id"]): [] for image in content["images"]}
        for entry in content["annotations"]:
            if int(entry["image_id"]) not in by_image:
                raise ValueError(
                    f"{self.annotations}: an annotation names image {entry['image_id']}, which is not listed"
                )
            if int(entry["category_id"]) not in labels:
                raise ValueError(
                    f"{self.annotations}: image {entry['image_id']} has the category {entry['category_id']}, which is "
                    "not listed"
                )
            width, height = self._box(entry)[2:]
            if self.train and (entry.get("iscrowd", 0) or width <= 0 or height <= 0):
                continue
            by_image[int(entry["image_id"])].append(entry)
        kept = [image for image in content["images"] if by_image[int(image["id"])] or not self.train]
        rows = [(labels[int(e["category_id"])], e) for image in kept for e in by_image[int(image["id"])]]
        self.files = np.array([image["file_name"] for image in kept], dtype=str)
        self.ids = np.array([image["id"] for image in kept], dtype=np.int64)
        self._ends = np.cumsum([0, *(len(by_image[int(image["id"])]) for image in kept)])
        self._boxes = np.array([entry["bbox"] for _, entry in rows], dtype=np.float32).reshape(-1, 4)
        self._labels = np.array([label for label, _ in rows], dtype=np.int64)
        self._areas = np.array(
            [entry.get("area", entry["bbox"][2] * entry["bbox"][3]) for _, entry in rows], dtype=np.float32
        )
        self._crowds = np.array([entry.get("iscrowd", 0) for _, entry in rows], dtype=np.int64)

    def _box(self, entry: dict[str, Any]) -> list[float]:
        box = entry["bbox"]
        if not isinstance(box, list) or len(box) != 4:
            raise ValueError(
                f"{self.annotations}: image {entry['image_id']}: bbox must be [x, y, width, height], found {box!r}"
            )
        return box

    def __len__(self) -> int:
        return len(self.files)

    def _pixels(self, index: int) -> np.ndarray:
        return np.asarray(read_image(self.root / str(self.files[index])))

    def _target(self, index: int, height: int, width: int) -> Target:
        own = slice(self._ends[index], self._ends[index + 1])
        boxes = self._boxes[own].copy()
        boxes[:, 2:] += boxes[:, :2]
        boxes = boxes.clip(0, [width, height, width, height])
        there = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        return target_of(
            boxes[there],
            self._labels[own][there],
            image_id=int(self.ids[index]),
            area=self._areas[own][there],
            iscrowd=self._crowds[own][there],
        )


def read_annotations(path: Path) -> dict[str, Any]:
    """Return the content of an annotation file.

    Raises:
        ValueError: if the file is missing, is not JSON, or lacks a part of COCO's format.

    Example:
        >>> read_annotations(Path("nowhere.json"))
        Traceback (most recent call last):
        ValueError: annotations nowhere.json cannot be read: No such file or directory
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"annotations {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"annotations {path} must be a JSON file in COCO's format: {error}") from error
    for part, keys in PARTS.items():
        entries = content.get(part) if isinstance(content, dict) else None
        if not isinstance(entries, list):
            raise ValueError(f"annotations {path} must be in COCO's format, with {', '.join(PARTS)}; it lacks {part}")
        for entry in entries:
            missing = [key for key in keys if not isinstance(entry, dict) or key not in entry]
            if missing:
                raise ValueError(f"annotations {path} must be in COCO's format: an entry of {part} lacks {missing[0]}")
    return content
