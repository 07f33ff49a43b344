"""Replace the data sets of a config by noise and its checkpoints by random weights."""

from __future__ import annotations

import copy
import inspect
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from torch.utils.data import Dataset
from torchdistill.common.main_util import import_get

from ..data.detection import CocoBoxes
from ..data.detection.fake_boxes import FakeBoxes
from ..data.fake_images import FakeImages
from .config import Config
from .yaml_nodes import child_node, mapping_nodes, put_node

BATCHES = 4
"""Length of a data set of unknown length, in batches of the largest size in the config."""

IMAGENET_CLASSES = 1000
BOOL, STRING = "tag:yaml.org,2002:bool", "tag:yaml.org,2002:str"
COCO_IDS = 90
"""Largest category id of COCO's 80 classes."""

TRAINING_SPLITS = ("train", "trainval", "training", "byclass", "balanced", "letters", "train+unlabeled")


@dataclass(frozen=True)
class Shape:
    """Sizes of a data set; height and width are typical ones if the images differ."""

    height: int = 375
    width: int = 500
    classes: int | None = None  # None: the models' num_classes
    train: int | None = None  # number of training images; None if unknown
    test: int | None = None  # number of images in any other split; None if unknown
    mode: str = "RGB"


SHAPES = {
    "CIFAR10": Shape(32, 32, 10, 50_000, 10_000),
    "CIFAR100": Shape(32, 32, 100, 50_000, 10_000),
    "ImageNet": Shape(375, 500, IMAGENET_CLASSES, 1_281_167, 50_000),
    "TinyImageNet": Shape(64, 64, 200, 100_000, 10_000),
    "CUB200": Shape(375, 500, 200, 5_994, 5_794),
    **dict.fromkeys(("MNIST", "FashionMNIST", "KMNIST"), Shape(28, 28, 10, 60_000, 10_000, "L")),
    "USPS": Shape(16, 16, 10, 7_291, 2_007, "L"),
    "EMNIST": Shape(28, 28, mode="L"),
    "SEMEION": Shape(16, 16, 10, 1_593, 1_593, "L"),
    "FER2013": Shape(48, 48, 7, 28_709, 7_178, "L"),
    "PCAM": Shape(96, 96, 2, 262_144, 32_768),
    "SVHN": Shape(32, 32, 10, 73_257, 26_032),
    "STL10": Shape(96, 96, 10, 5_000, 8_000),
    "EuroSAT": Shape(64, 64, 10, 27_000, 27_000),
    "Food101": Shape(512, 512, 101, 75_750, 25_250),
    "OxfordIIITPet": Shape(classes=37, train=3_680, test=3_669),
    "Flowers102": Shape(500, 600, 102, 1_020, 6_149),
    "StanfordCars": Shape(480, 640, 196, 8_144, 8_041),
    "FGVCAircraft": Shape(classes=100, train=3_334, test=3_333),
    "CocoBoxes": Shape(480, 640, 80, 117_266, 5_000),
    "DTD": Shape(classes=47, train=1_880, test=1_880),
}
"""Sizes by class name of the data set; others use ``Shape()``."""


def with_fake_data(config: Config, *, weights: bool = True) -> Config:
    """Return a config that neither reads nor downloads data or weights; ``weights=False`` keeps the weights.

    Data sets that take ``root`` are replaced by noise with the real image size, number of classes and length; the
    config's transforms are kept. An image folder gets the models' ``num_classes`` and four batches, or fewer if
    ``CRDLoss`` names a smaller number of images, or more if a ``Split`` takes more. Data sets without files stay as
    they are. Missing checkpoints and pretrained weights are removed.

    The new config keeps the line numbers of the file.
    """
    root = copy.deepcopy(config.root)
    length = min([BATCHES * _largest_batch(root), *_told_lengths(root)])
    classes = _model_classes(root) or IMAGENET_CLASSES
    splits = [_needed(kwargs, classes) for kwargs in map(_split_kwargs, mapping_nodes(root)) if kwargs is not None]
    common = {"num_classes": classes, "length": max([length, *splits])}
    for node in list(mapping_nodes(root)):
        if node.tag == "!import_call":
            _replace(node, common)
        if weights:
            _leave_out_missing_checkpoints(node)
    models = child_node(root, "models") if weights else None
    for node in mapping_nodes(models[1]) if models else ():
        _leave_out_pretrained(node)
    return replace(config, text=yaml.serialize(root), root=root)


def fake_images(
    original: str, num_classes: int, length: int, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
) -> FakeImages | FakeBoxes:
    """Return a noise data set for the arguments of the original class, whose full name is given.

    ``num_classes`` and ``length`` are for a data set that is not in ``SHAPES``.

    Raises:
        TypeError: if the original does not take these arguments.

    Example:
        >>> data = fake_images("torchvision.datasets.CIFAR100", 10, 8, kwargs={"root": "nowhere", "train": False})
        >>> len(data), len(data.classes), data[0][0].size
        (10000, 100, (32, 32))
    """
    kind = import_get(original)
    signature = inspect.signature(kind)
    given = dict(signature.bind(*args, **(kwargs or {})).arguments)
    for name, parameter in signature.parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            given |= given.pop(name, {})
    training = given.get("train", given.get("split", "train") in TRAINING_SPLITS)
    shape = SHAPES.get(kind.__name__, Shape())
    known = shape.train if training else shape.test
    size: dict[str, Any] = {"length": known or length, "height": shape.height, "width": shape.width}
    if kind is CocoBoxes:
        ids = 80 if given.get("contiguous", True) else COCO_IDS
        return FakeBoxes(**size, num_classes=ids, transforms=given.get("transforms"))
    return FakeImages(
        **size,
        num_classes=shape.classes or num_classes,
        mode="RGB" if kind.__module__.startswith("kd_plugins.") else shape.mode,
        real_length=known is not None,
        transform=given.get("transform"),
        target_transform=given.get("target_transform"),
        transforms=given.get("transforms"),
    )


def _replace(node: yaml.MappingNode, common: Mapping[str, int]) -> None:
    """Edit a tag in place: if it builds a data set with files, let it build noise from the same arguments."""
    original = _original(node)
    if original is None:
        return
    init = child_node(node, "init")
    given: dict[str, Any] = {"original": original, **common}
    for name in ("args", "kwargs"):
        found = child_node(init[1], name) if init else None
        if found is not None:
            given[name] = found[1]
    fake = f"{fake_images.__module__}.{fake_images.__name__}"
    node.value = _node({"key": fake, "init": {"kwargs": given}}, node).value


def _original(node: yaml.MappingNode) -> str | None:
    """Return the full class name if a tag builds a data set with files; else None."""
    key, package = (_scalar(node, name) for name in ("key", "package"))
    if key is None:
        return None
    name = f"{package}.{key}" if package else key
    try:
        kind = import_get(name)
    except (ImportError, AttributeError, ValueError):
        return None  # construction reports the error
    is_data_set = inspect.isclass(kind) and issubclass(kind, Dataset)
    return name if is_data_set and "root" in inspect.signature(kind).parameters else None


def _leave_out_missing_checkpoints(node: yaml.MappingNode) -> None:
    for key_node, value in list(node.value):
        key = str(key_node.value)
        if key == "statistics":
            put_node(node, key, _node("auto", value))  # statistics in a file do not match random weights
        # Files under other keys, such as a paraphraser's, may be missing: an earlier stage writes them.
        if key not in ("src_ckpt", "checkpoint") or value.tag == BOOL:
            continue
        if not (isinstance(value, yaml.ScalarNode) and Path(value.value).expanduser().is_file()):
            put_node(node, key, _node(None, value))


def _leave_out_pretrained(node: yaml.MappingNode) -> None:
    pretrained, weights = child_node(node, "pretrained"), child_node(node, "weights")
    if pretrained is not None and pretrained[1].tag == BOOL:
        put_node(node, "pretrained", _node(False, pretrained[1]))
    # torchvision's weights are a name or a tag such as !getattr; other models' weights may be lists of numbers.
    if weights is not None and (weights[1].tag == STRING or weights[1].tag.startswith("!")):
        put_node(node, "weights", _node(None, weights[1]))


def _model_classes(root: yaml.MappingNode) -> int | None:
    """Return ``num_classes`` of the student, which may be inside another model, or of the teacher."""
    models = child_node(root, "models")
    sections = (child_node(models[1], name) for name in ("student_model", "model", "teacher_model")) if models else ()
    inside = (node for section in sections if section is not None for node in mapping_nodes(section[1]))
    return next((found for node in inside if (found := _number(node, "num_classes")) is not None), None)


def _largest_batch(root: yaml.MappingNode) -> int:
    sizes = (_number(node, "batch_size") for node in mapping_nodes(root))
    return max((size for size in sizes if size is not None), default=1)


def _told_lengths(root: yaml.MappingNode) -> Iterator[int]:
    """Yield the numbers of training images in the kwargs of ``CRDLoss``."""
    for node in mapping_nodes(root):
        kwargs = child_node(node, "kwargs")
        if _scalar(node, "key") == "CRDLoss" and kwargs is not None:
            sizes = (_number(kwargs[1], name) for name in ("output_size", "num_samples"))
            yield from (size for size in sizes if size)


def _split_kwargs(node: yaml.Node) -> yaml.Node | None:
    """Return the keywords of a tag that builds a ``Split``; None for another node."""
    if not isinstance(node, yaml.MappingNode) or not (_scalar(node, "key") or "").endswith("data.Split"):
        return None
    init = child_node(node, "init")
    kwargs = child_node(init[1], "kwargs") if init else None
    return kwargs[1] if kwargs else None


def _needed(kwargs: yaml.Node, classes: int) -> int:
    """Return the least number of images of which a ``Split`` with these keywords can take its parts."""
    share, images = (_float(kwargs, name) for name in ("val_share", "images"))
    # Each part needs as many images as there are classes, and drawing from a part leaves as many.
    found = math.ceil(max((classes + 1) / (share or 1), (images + classes + 1) / (1 - share)))
    inside = child_node(kwargs, "dataset")
    outer = _split_kwargs(inside[1]) if inside else None
    if outer is None:
        return found
    return max(_needed(outer, classes), math.ceil(found / (1 - _float(outer, "val_share"))))


def _scalar(node: yaml.Node, key: str) -> str | None:
    found = child_node(node, key)
    return found[1].value if found is not None and isinstance(found[1], yaml.ScalarNode) else None


def _number(node: yaml.Node, key: str) -> int | None:
    text = _scalar(node, key) or ""
    return int(text) if text.isdigit() else None


def _float(node: yaml.Node, key: str) -> float:
    try:
        return float(_scalar(node, key) or 0)
    except ValueError:
        return 0.0


def _node(value: Any, near: yaml.Node) -> yaml.Node:
    """Return ``value`` as YAML nodes with the position of ``near``; nodes are returned unchanged."""
    marks = (near.start_mark, near.end_mark)
    if isinstance(value, yaml.Node):
        return value
    if isinstance(value, Mapping):
        entries = [(_node(key, near), _node(item, near)) for key, item in value.items()]
        return yaml.MappingNode("tag:yaml.org,2002:map", entries, *marks)
    tag = {str: STRING, bool: BOOL, int: "tag:yaml.org,2002:int"}.get(type(value), "tag:yaml.org,2002:null")
    return yaml.ScalarNode(tag, value if isinstance(value, str) else json.dumps(value), *marks)
