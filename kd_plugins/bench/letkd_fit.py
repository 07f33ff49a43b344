"""Time and memory of fitting letKD's statistics on random features of CIFAR-100's size."""

from __future__ import annotations

import multiprocessing
import resource
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from .._checks import check_at_least
from ..statistics import ArrayFeatures, Block, Shape, cluster_classes, fit_centres, member_means, score_table
from ..statistics.clustering.kmeans import BATCH
from ..statistics.fitting import Request, Settings, fit_statistics
from .timing import seconds_of

BLOCK_IMAGES = 64


@dataclass(frozen=True)
class Size:
    """Size of the random features, and of what is fitted to them."""

    images: int = 50_000  # N
    side: int = 8  # height and width of a map
    channels: int = 64  # d
    classes: int = 100  # C
    num_centres: int = 4096  # K
    subclasses: int = 8  # S
    components: int = 60  # d' of the projection


@dataclass(frozen=True)
class Row:
    """One measurement."""

    name: str
    value: float
    unit: str  # unit of value and target
    target: float | None  # largest wanted value; None for a reference


class MadeUpFeatures:
    """Stream of random maps around a random mean per class, generated anew in every pass, with equal values."""

    def __init__(self, size: Size) -> None:
        self.shape = Shape(size.images, size.side, size.side, size.channels)
        self.device = torch.device("cpu")
        self.classes = size.classes
        self.means = torch.randn(size.classes, size.channels, generator=torch.Generator().manual_seed(0))

    def blocks(self, title: str) -> Iterator[Block]:
        """Yield as many images at a time as a batch of the teacher has."""
        generator = torch.Generator().manual_seed(1)
        for start in range(0, self.shape.images, BLOCK_IMAGES):
            images = min(BLOCK_IMAGES, self.shape.images - start)
            labels = torch.randint(self.classes, (images,), generator=generator)
            noise = torch.randn(images, self.shape.positions, self.shape.channels, generator=generator)
            yield Block(noise.add_(self.means[labels][:, None]), labels)

    def array(self) -> ArrayFeatures:
        """Return all features in memory."""
        blocks = list(self.blocks(""))
        return ArrayFeatures(
            torch.cat([block.features for block in blocks]), torch.cat([block.need_labels() for block in blocks])
        )


def run_letkd_fit(*, size: Size | None = None) -> list[Row]:
    """Measure the parts of a fit and a whole fit, on the CPU; by default of CIFAR-100's size with a map of 8 x 8.

    Raises:
        ValueError: on a size below 1.
    """
    size = size or Size()
    for name, value in vars(size).items():
        check_at_least(name, value, 1)
    return [*_score_table(size), *_kmeans(size), *_whole_fit(size)]


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
        verdict = ""
        if row.target is not None:
            verdict = f"  (target {row.target:g} {row.unit}: {'met' if row.value <= row.target else 'missed'})"
        lines.append(f"{row.name:<{width}}  {row.value:>6.3f} {row.unit}{verdict}")
    return "\n".join(lines)


def _score_table(size: Size) -> list[Row]:
    features = MadeUpFeatures(replace(size, channels=size.components))
    stream = features.array()
    points = torch.randn(size.classes, 64 * size.subclasses, size.components) + features.means[:, None]
    present = torch.ones(points.shape[:2], dtype=torch.bool)
    centres, alive = cluster_classes(points, present, subclasses=size.subclasses, seed=0)

    def run() -> None:
        prototypes, counts = member_means(stream, centres, alive, title="")
        score_table(stream, centres, counts, prototypes)

    return [Row("sub-class assignment, prototypes and score table", seconds_of(run), "s", 60.0)]


def _kmeans(size: Size) -> list[Row]:
    from sklearn.cluster import MiniBatchKMeans

    stream = MadeUpFeatures(size).array()
    rows = stream.features.flatten(0, 1).numpy()
    reference = MiniBatchKMeans(size.num_centres, batch_size=BATCH, max_iter=1, random_state=0)
    there = seconds_of(lambda: reference.fit(rows))
    here = seconds_of(lambda: fit_centres(stream, count=size.num_centres))
    return [
        Row("K-means, scikit-learn's on the array", there, "s", None),
        Row("K-means, streamed", here, "s", None),
        Row("K-means, streamed / scikit-learn's", here / there, "x", 1.3),
    ]


def _whole_fit(size: Size) -> list[Row]:
    # In its own process, because the peak memory of a process is known only for its whole life.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        seconds, gigabytes = pool.submit(_fit_alone, size).result()
    return [
        Row("whole fit, both kinds", seconds, "s", 300.0),
        Row("whole fit, most memory", gigabytes, "GB", 3.0),
    ]


def _fit_alone(size: Size) -> tuple[float, float]:
    settings = Settings(num_centres=size.num_centres, subclasses=size.subclasses, components=size.components)
    request = Request(MadeUpFeatures(size), size.classes, settings)
    requests = {"penultimate": request, "intermediate": request}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "statistics.safetensors"
        seconds = seconds_of(lambda: fit_statistics(path, requests, {}))
    unit = 1 if sys.platform == "darwin" else 1024
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
