"""What the statistics of letKD cost at the size of CIFAR-100, on features that are made up."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from .._checks import check_at_least, check_choice
from ..statistics import ArrayFeatures, Block, Shape, cluster_classes, fit_centres, member_means, score_table
from ..statistics.clustering.kmeans import BATCH
from ..statistics.fitting import Request, Settings, fit_statistics

PIECES = ("score table", "k-means", "whole fit")
BLOCK_IMAGES = 64


@dataclass(frozen=True)
class Size:
    """Size of the made-up features.

    Attributes:
        images: N.
        side: height and width of a map.
        channels: d.
        classes: C.
        num_centres: K.
        subclasses: S.
        components: d' of the projection.
    """

    images: int = 50_000
    side: int = 8
    channels: int = 64
    classes: int = 100
    num_centres: int = 4096
    subclasses: int = 8
    components: int = 60


@dataclass(frozen=True)
class Row:
    """One measurement.

    Attributes:
        name: what was measured.
        value: of it.
        unit: of the value and the target.
        target: the most that is wanted; None for a reference.
    """

    name: str
    value: float
    unit: str
    target: float | None

    @property
    def met(self) -> bool:
        """Whether the value is within the target."""
        return self.target is None or self.value <= self.target


class MadeUpFeatures:
    """Maps around a random mean of each class, made when they are asked for, the same in every pass.

    Args:
        size: how much.
    """

    def __init__(self, size: Size) -> None:
        self.shape = Shape(size.images, size.side, size.side, size.channels)
        self.device = torch.device("cpu")
        self.classes = size.classes
        self.means = torch.randn(size.classes, size.channels, generator=torch.Generator().manual_seed(0))

    def blocks(self, title: str) -> Iterator[Block]:
        """Yield as many images at a time as a teacher would get."""
        del title
        generator = torch.Generator().manual_seed(1)
        left = self.shape.images
        while left:
            images = min(BLOCK_IMAGES, left)
            left -= images
            labels = torch.randint(self.classes, (images,), generator=generator)
            noise = torch.randn(images, self.shape.positions, self.shape.channels, generator=generator)
            yield Block(noise.add_(self.means[labels][:, None]), labels)

    def array(self) -> ArrayFeatures:
        """Return everything in memory."""
        features = torch.empty(self.shape.images, self.shape.positions, self.shape.channels)
        labels: list[Tensor] = []
        done = 0
        for block in self.blocks(""):
            features[done : done + len(block.features)] = block.features
            labels.append(block.need_labels())
            done += len(block.features)
        return ArrayFeatures(features, torch.cat(labels))


def run_letkd_fit(*, size: Size | None = None, pieces: Sequence[str] = PIECES) -> list[Row]:
    """Measure the pieces of a fit, on the CPU.

    Args:
        size: of the features; that of CIFAR-100 with a map of 8 x 8 by default.
        pieces: of :data:`PIECES`.

    Returns:
        A row for every measurement.

    Raises:
        ValueError: on an unknown piece or a size below 1.
    """
    size = size or Size()
    for name, value in vars(size).items():
        check_at_least(name, value, 1)
    for piece in pieces:
        check_choice("pieces", piece, PIECES)
    rows: list[Row] = []
    if "score table" in pieces:
        rows += _score_table(size)
    if "k-means" in pieces:
        rows += _kmeans(size)
    if "whole fit" in pieces:
        rows += _whole_fit(size)
    return rows


def format_letkd_fit(rows: list[Row]) -> str:
    """Return the measurements as a table.

    Example:
        >>> rows = [Row("scikit-learn", 30.0, "s", None), Row("ratio", 0.9, "x", 1.3), Row("table", 61.0, "s", 60.0)]
        >>> print(format_letkd_fit(rows))
        scikit-learn  30.000 s
        ratio          0.900 x  (target 1.3 x: met)
        table         61.000 s  (target 60 s: missed)
    """
    width = max(len(row.name) for row in rows)
    lines = []
    for row in rows:
        verdict = "" if row.target is None else f"  (target {row.target:g} {row.unit}: {_verdict(row)})"
        lines.append(f"{row.name:<{width}}  {row.value:>6.3f} {row.unit}{verdict}")
    return "\n".join(lines)


def _verdict(row: Row) -> str:
    return "met" if row.met else "missed"


def _score_table(size: Size) -> list[Row]:
    projected = Size(**{**vars(size), "channels": size.components})
    stream = MadeUpFeatures(projected).array()
    points = torch.randn(size.classes, 64 * size.subclasses, size.components) + MadeUpFeatures(projected).means[:, None]
    present = torch.ones(points.shape[:2], dtype=torch.bool)
    centres, alive = cluster_classes(points, present, subclasses=size.subclasses, seed=0)

    def run() -> None:
        prototypes, counts = member_means(stream, centres, alive, title="")
        score_table(stream, centres, counts, prototypes)

    return [Row("sub-class assignment, prototypes and score table", _seconds(run), "s", 60.0)]


def _kmeans(size: Size) -> list[Row]:
    from sklearn.cluster import MiniBatchKMeans

    stream = MadeUpFeatures(size).array()
    rows = stream.features.flatten(0, 1).numpy()
    reference = MiniBatchKMeans(size.num_centres, batch_size=BATCH, max_iter=1, random_state=0)
    there = _seconds(lambda: reference.fit(rows))
    here = _seconds(lambda: fit_centres(stream, count=size.num_centres))
    return [
        Row("K-means, scikit-learn's on the array", there, "s", None),
        Row("K-means, streamed", here, "s", None),
        Row("K-means, streamed / scikit-learn's", here / there, "x", 1.3),
    ]


def _whole_fit(size: Size) -> list[Row]:
    """Run in a process of its own: the most memory that a process took cannot be asked for a part of its life."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_fit_and_tell, args=(size, theirs))
    process.start()
    theirs.close()
    seconds, gibibytes = ours.recv()
    process.join()
    return [
        Row("whole fit, both kinds", seconds, "s", 300.0),
        Row("whole fit, most memory", gibibytes, "GB", 3.0),
    ]


def _fit_and_tell(size: Size, pipe: multiprocessing.connection.Connection) -> None:
    stream = MadeUpFeatures(size)
    settings = Settings(num_centres=size.num_centres, subclasses=size.subclasses, components=size.components)
    request = Request(stream, size.classes, settings)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "statistics.safetensors"
        requests = {"penultimate": request, "intermediate": request}
        seconds = _seconds(lambda: fit_statistics(path, requests, {}))
    unit = 1 if sys.platform == "darwin" else 1024
    pipe.send((seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9))


def _seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started
