"""Iteration over a data loader, with errors of one message."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from .inside import base_datasets, single_transforms

# Errors of data sets, transforms and collate functions; Pillow raises SyntaxError and EOFError on damaged files.
FAILURES = (AssertionError, EOFError, IndexError, KeyError, OSError, RuntimeError, SyntaxError, TypeError, ValueError)

HINTS = {
    "stack expects each tensor to be equal size": "the images differ in size: add a Resize or a crop to the transform",
    "PIL.Image": "the images are not tensors: add ToTensor to the transform, before the steps that take tensors",
    "doesn't match the broadcast shape": "mean and std must have one number per image channel",
}


class DataError(ValueError):
    """Error for data that cannot be loaded; the message names the sample and the reason."""

    def __init__(self, message: str) -> None:
        # A DataLoader re-raises a worker's error with the worker's traceback in the message.
        super().__init__(own_words(message))


def batches(loader: DataLoader) -> Iterator[Any]:
    """Yield the batches of a loader, with or without worker processes.

    Raises:
        DataError: if data cannot be loaded; it names the data set and, if known, the sample.

    Example:
        >>> from torch.utils.data import TensorDataset
        >>> list(batches(DataLoader(TensorDataset(torch.arange(3)), batch_size=2)))
        [[tensor([0, 1])], [tensor([2])]]
    """
    iterator, end = iter(loader), object()
    while True:
        try:
            batch = next(iterator, end)
        except FAILURES as error:
            known = isinstance(error, (DataError, torch.OutOfMemoryError))
            found = error if known else _with_place(loader.dataset, error)
            # Without this the frames hold the iterator until the garbage collector finds it, and torch then waits 5 s
            # for its worker processes.
            traceback.clear_frames(error.__traceback__)
            del iterator
            if known:
                raise
            raise found from error
        if batch is end:
            return
        yield batch


def to_device(tree: Any, device: torch.device) -> Any:
    """Return a batch on a device: a tensor, or lists, tuples and dictionaries of tensors.

    Example:
        >>> to_device([{"boxes": torch.zeros(1, 4)}], torch.device("cpu"))[0]["boxes"].shape
        torch.Size([1, 4])
    """
    if isinstance(tree, Tensor):
        return tree.to(device, non_blocking=True)
    if isinstance(tree, dict):
        return {key: to_device(value, device) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return type(tree)(to_device(value, device) for value in tree)
    return tree


def own_words(message: str) -> str:
    r"""Return an error's message without the worker's traceback that a DataLoader adds.

    Example:
        >>> own_words("Caught OSError in DataLoader worker process 0.\nOriginal Traceback ...\nOSError: cut short\n")
        'cut short'
    """
    kind = re.match(r"Caught (\w+) in ", message)
    if kind is None:
        return message
    return re.split(rf"^(?:\w+\.)*{kind[1]}(?:: |$)", message, flags=re.MULTILINE)[-1].strip()


def _with_place(dataset: Any, error: BaseException) -> DataError:
    place, failing = _place(dataset, error)
    step = "" if failing is None else f"{failing!r} fails: "
    return DataError(f"{place} cannot be loaded: {step}{_reason(error)}")


def _place(dataset: Any, error: BaseException) -> tuple[str, Any]:
    """Return the sample that could not be loaded, and the transform that failed, if any.

    The index is that of the innermost data set.
    """
    failing = None
    steps: list[Any] = []
    place = f"a batch of {_named(base_datasets(dataset)[0])}"
    for frame, _ in traceback.walk_tb(error.__traceback__):
        names, reads = frame.f_code.co_varnames, frame.f_code.co_name == "__getitem__"
        if not reads and not steps:
            continue  # a look at the iterator's own frames would keep the iterator
        owner = frame.f_locals.get("self")
        if reads and isinstance(owner, Dataset) and len(names) > 1:
            place, failing = f"sample {frame.f_locals.get(names[1])} of {_named(owner)}", None
            steps = list(single_transforms(getattr(owner, "transform", None)))
        elif failing is None:
            failing = next((step for step in steps if step is owner), None)
    return place, failing


def _named(dataset: Any) -> str:
    root = getattr(dataset, "root", None)
    return type(dataset).__name__ + (f" ({root})" if root is not None else "")


def _reason(error: BaseException) -> str:
    message = str(error)
    text = " ".join(own_words(message).split())
    if not text or not isinstance(error, (OSError, RuntimeError, ValueError)):
        text = f"{type(error).__name__}: {text}"
    hints = [f"; {hint}" for sign, hint in HINTS.items() if sign in text]
    if not hints and own_words(message) != message:
        hints = ["; set num_workers: 0 to see which sample it is"]
    return text + "".join(hints[:1])
