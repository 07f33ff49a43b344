"""What a run may write after every epoch beside its metrics: weights to keep, and events for TensorBoard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from ...runtime.checkpoint import write_atomically
from ...runtime.run_names import EPOCH_WEIGHTS


class EpochFiles:
    """Writes the student's weights after every ``keep_every`` epochs, 0 for never, and an event file.

    Raises:
        ValueError: on an invalid ``keep_every``, or if TensorBoard is not installed.
    """

    def __init__(self, folder: Path, *, keep_every: int = 0, tensorboard: bool = False) -> None:
        if isinstance(keep_every, bool) or not isinstance(keep_every, int) or keep_every < 0:
            raise ValueError(f"--keep-every must be a whole number of at least 0 epochs, found {keep_every!r}")
        self.folder, self.keep_every = folder, keep_every
        self.writer_class = _summary_writer() if tensorboard else None
        self.writer: Any = None

    def write(self, line: Mapping[str, Any], weights: Mapping[str, Any]) -> None:
        """Write the files of an epoch, given its line of metrics and the student's weights."""
        epoch = line["epoch"]
        if self.keep_every and epoch % self.keep_every == 0:
            kept = {"model": weights, "epoch": epoch}
            write_atomically(self.folder / EPOCH_WEIGHTS.format(epoch), lambda path: torch.save(kept, path))
        if self.writer_class is not None:
            if self.writer is None:
                # Events of epochs that a resumed run repeats are hidden.
                self.writer = self.writer_class(str(self.folder), purge_step=epoch)
            for name, value in scalars(line):
                self.writer.add_scalar(name, value, epoch)
            self.writer.flush()

    def close(self) -> None:
        """Close the event file."""
        if self.writer is not None:
            self.writer.close()


def scalars(line: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield name and value of the numbers in a line of metrics.

    Example:
        >>> dict(scalars({"epoch": 3, "lr": 0.1, "loss": 2.5, "terms": {"ce": 2.0}, "val": {"top1": 50.0}}))
        {'lr': 0.1, 'loss/total': 2.5, 'loss/ce': 2.0, 'val/top1': 50.0}
    """
    for name, value in line.items():
        if isinstance(value, Mapping):
            group = "loss" if name == "terms" else name
            yield from ((f"{group}/{key}", inside) for key, inside in value.items())
        elif isinstance(value, (int, float)) and name != "epoch":
            yield ("loss/total" if name == "loss" else name), value


def _summary_writer() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ValueError("--tensorboard needs TensorBoard: pip install 'kd-plugins[tensorboard]'") from error
    return SummaryWriter
