"""Check that the data sets of a config number classes alike and contain no stray files or folders."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torchvision.datasets import DatasetFolder

from .._errors import ConfigError
from .._names import enumerated
from .._stray import deletes_stray_files, is_stray_file, is_stray_folder
from ..data.fake_images import FakeImages
from ..data.inside import base_datasets
from ..data.synthetic_images import SyntheticImages
from .config import Config
from .validate import placed_stages

UNSORTED = ["images"]
"""Classes that a folder reader finds in Tiny-ImageNet's validation images as downloaded."""


@dataclass(frozen=True)
class DataFault:
    """A mistake in a data set of a config, with its place."""

    message: str
    path: tuple[str, ...]
    certain: bool = True  # False if it may be intended


def check_datasets(config: Config, built: Mapping[str, Any]) -> None:
    """Raise :class:`ConfigError` for the first certain mistake in the data sets."""
    for fault in data_faults(built):
        if fault.certain:
            raise ConfigError(f"{config.path}: {config.where(*fault.path)}: {fault.message}")


def data_faults(built: Mapping[str, Any]) -> Iterator[DataFault]:
    """Yield the mistakes in the data sets of a config's loaders.

    Every data set is compared with the training set of its stage, the test set with that of the last stage.
    """
    trained, compared, looked_at = None, set(), set()
    for place, section in loader_sections(built):
        name, path = section["dataset_id"], (*place, "dataset_id")
        data = built["datasets"][name]
        if name not in looked_at:
            looked_at.add(name)
            yield from (DataFault(message, path) for message in folder_faults(data))
        if place[-1] == "train_data_loader":
            trained = name
        if trained is not None and (trained, name) not in compared:
            compared.add((trained, name))
            fault = numbering_fault(built["datasets"][trained], data, (str(trained), str(name)))
            if fault is not None:
                yield DataFault(fault[0], path, certain=fault[1])


def loader_sections(built: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """Yield place and section of every loader: training and validation of each stage, then the test."""
    for at, stage in placed_stages(built["train"]):
        for key in ("train_data_loader", "val_data_loader"):
            if stage.get(key):
                yield (*at, key), stage[key]
    test = (built.get("test") or {}).get("test_data_loader")
    if test:
        yield ("test", "test_data_loader"), test


def folder_faults(dataset: Any) -> Iterator[str]:
    """Yield messages about stray folders and files that an image folder takes for classes and images."""
    for base in base_datasets(dataset):
        if not isinstance(base, DatasetFolder):
            continue
        folders = [name for name in base.classes if is_stray_folder(name)]
        if folders:
            yield f"{base.root} has folders that are not classes but are read as classes: delete {enumerated(folders)}"
        files = [path for path, _ in base.samples if is_stray_file(path)]
        if files:
            yield (
                f"{base.root} has macOS files that are read as images, such as {files[0]} ({len(files)} in all): "
                f"delete them with {deletes_stray_files(base.root)}"
            )


def numbering_fault(trained: Any, other: Any, names: tuple[str, str]) -> tuple[str, bool] | None:
    """Return a message about differing classes of two data sets or of their parts, and whether this is certain.

    An image folder numbers classes by sorted name, so an extra folder shifts the labels of the others. Data sets
    without class names, or with different ``target_transform``, are not compared. ``names`` are those of the sets in
    the config.
    """
    sets = [(name, base) for name, data in zip(names, (trained, other), strict=True) for base in base_datasets(data)]
    known = [(name, base, labels) for name, base in sets if (labels := class_labels(base)) and not _unnamed(base)]
    for name, base, labels in known[1:]:
        first_name, first, expected = known[0]
        if getattr(first, "target_transform", None) is not getattr(base, "target_transform", None):
            continue
        if isinstance(first, FakeImages) is not isinstance(base, FakeImages):
            continue  # the names of fake images are made up
        if labels != expected:
            pair = (first_name, name) if first_name != name else (f"{name} (first part)", f"{name} (another part)")
            alike = not labels.keys() & expected.keys() and len(set(labels.values())) == len(set(expected.values()))
            return _difference(expected, labels, pair), not alike
    return None


def class_labels(dataset: Any) -> dict[str, int]:
    """Return the label of each class name of a data set; empty if it has no class names.

    Example:
        >>> from kd_plugins.data import Digits
        >>> class_labels(Digits(train=False))["7"]
        7
    """
    found, names = getattr(dataset, "class_to_idx", None), getattr(dataset, "classes", None)
    if isinstance(found, Mapping) and found:
        return {str(name): int(label) for name, label in found.items()}
    return {str(name): label for label, name in enumerate(names)} if isinstance(names, (list, tuple)) else {}


def _unnamed(dataset: Any) -> bool:
    """Tell whether synthetic images have numbers as class names, as the folder does not tell the names."""
    return isinstance(dataset, SyntheticImages) and dataset.classes == [str(n) for n in range(len(dataset.classes))]


def _difference(expected: Mapping[str, int], labels: Mapping[str, int], names: tuple[str, str]) -> str:
    sides = zip(names, (expected, labels), (labels, expected), strict=True)
    parts = [f"only in {name}: {enumerated(only)}" for name, own, rest in sides if (only := sorted(own.keys() - rest))]
    moved = next((name for name in expected if name in labels and labels[name] != expected[name]), None)
    if moved is not None:
        parts.append(f"{moved!r} is label {expected[moved]} in {names[0]} and {labels[moved]} in {names[1]}")
    advice = "give both the same class folders; for a class without images, add an empty one and set allow_empty: True"
    if list(labels) == UNSORTED:
        advice = "sort the images into one folder per class, or read Tiny-ImageNet with kd_plugins.data.TinyImageNet"
    return f"{names[0]} and {names[1]} must have the same classes ({'; '.join(parts)}): {advice}"
