"""Fit a statistics file in parts; finished parts survive an interruption."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torch import Tensor

from .._checks import check_at_least, check_choice
from .artefact import FORMAT_VERSION, KINDS, StatisticsError, read_tensors, save_statistics
from .cache import CACHES, Cache
from .clustering.kmeans import fit_centres
from .clustering.lda import ClassMoments, discriminants
from .clustering.sampling import ClassSample
from .clustering.subclasses import cluster_classes, member_means, score_table
from .streaming import FeatureStream, ProjectedFeatures, Shape

MOST_SAMPLED = 2048
"""Number of positions per class that the initial centres of sub-classes come from."""
PASSES_AFTER_LDA = 3


@dataclass(frozen=True)
class Settings:
    """Settings of both kinds of statistics; each kind reads its own."""

    num_centres: int = 4096  # K of the penultimate K-means
    subclasses: int = 8  # S, clusters per class
    components: int | None = None  # d' of the projection; None takes min(60, C - 1)
    pca: int | None = None  # principal components before the discriminants; None keeps all channels


def largest_sizes(settings: Settings, shape: Shape, classes: int) -> dict[str, int]:
    """Return the largest possible value of each setting, for C classes of average size.

    Example:
        >>> largest_sizes(Settings(pca=16), Shape(images=100, height=2, width=2, channels=64), classes=10)
        {'num_centres': 400, 'subclasses': 40, 'pca': 64, 'components': 9}
    """
    components = min(classes - 1, settings.pca or shape.channels)
    most = {"num_centres": shape.rows, "subclasses": shape.rows // classes}
    return {**most, "pca": shape.channels, "components": components}


@dataclass(frozen=True)
class Request:
    """One kind of statistics to fit; only the intermediate kind reads the number of classes."""

    stream: FeatureStream
    classes: int
    settings: Settings


def fit_statistics(
    path: str | Path,
    requests: Mapping[str, Request],
    metadata: Mapping[str, str],
    *,
    seed: int = 0,
    budget: int = 2 << 30,
    cache: str = "auto",
) -> None:
    """Fit all requested kinds and write them into one file.

    Finished parts are kept in ``<path>.partial`` until the file is complete. A later call with the same metadata
    resumes after them; other metadata starts over.

    Args:
        path: the file.
        requests: by kind.
        metadata: everything that the result depends on, as text; saved in the file.
        seed: seed of all random numbers.
        budget: bytes of memory for features.
        cache: where projected features are kept between passes: ``"auto"``, ``"memory"``, ``"disk"`` (a temporary file
            beside ``path``) or ``"off"`` (the teacher runs for every pass). The result does not depend on it.

    Raises:
        StatisticsError: if the statistics cannot be fitted or written.
    """
    check_choice("cache", cache, CACHES)
    check_at_least("memory budget", budget, 1)
    path = Path(path)
    parts = _Parts(path, metadata)
    for kind, request in requests.items():
        check_choice("kind", kind, KINDS)
        if kind == "penultimate":
            centres = partial(fit_centres, request.stream, count=request.settings.num_centres, seed=seed, budget=budget)
            parts.fit(["penultimate.centres"], lambda: [centres()])  # noqa: B023 - called at once
        else:
            with Cache(cache, budget=budget, folder=path.absolute().parent) as keep:
                _fit_intermediate(parts, request, keep, seed=seed, budget=budget)
    parts.finish()


class _Parts:
    """The finished tensors, in memory and in the partial file."""

    def __init__(self, path: Path, metadata: Mapping[str, str]) -> None:
        self.path, self.metadata = path, dict(metadata)
        self.partial = path.with_name(f"{path.name}.partial")
        self.tensors: dict[str, Tensor] = {}
        if self.partial.is_file():
            try:
                tensors, found = read_tensors(self.partial)
            except StatisticsError:
                return  # unusable: it will be overwritten
            if found == {"format_version": FORMAT_VERSION, **self.metadata}:
                self.tensors = tensors

    def fit(self, names: list[str], compute: Callable[[], list[Tensor]]) -> list[Tensor]:
        """Return the tensors of these names; compute and save them unless they are finished."""
        if any(name not in self.tensors for name in names):
            self.tensors.update(zip(names, (t.cpu() for t in compute()), strict=True))
            save_statistics(self.partial, self.tensors, self.metadata)
        return [self.tensors[name] for name in names]

    def finish(self) -> None:
        """Write the file and remove the partial one."""
        whole = {name: t for name, t in self.tensors.items() if not name.startswith("unfinished.")}
        save_statistics(self.path, whole, self.metadata)
        self.partial.unlink(missing_ok=True)


def _fit_intermediate(parts: _Parts, request: Request, cache: Cache, *, seed: int, budget: int) -> None:
    source = cache.of_teacher(request.stream)
    weight, bias, start, started = parts.fit(
        ["intermediate.projection", "intermediate.projection_bias", "unfinished.centres", "unfinished.alive"],
        lambda: _project(source, request, seed=seed, budget=budget),
    )
    stream = cache.of_projection(ProjectedFeatures(source, weight, bias), source, passes=PASSES_AFTER_LDA)
    centres, counts = parts.fit(
        ["unfinished.refined", "unfinished.counts"],
        lambda: list(member_means(stream, start, started, title="intermediate: sub-class centres")),
    )

    def prototypes() -> list[Tensor]:
        means, members = member_means(stream, centres, counts > 0, title="intermediate: prototypes")
        kept = centres * (members > 0)[..., None]
        return [kept.flatten(0, 1), members.flatten(), means.flatten(0, 1)]

    names = ["subclass_centres", "subclass_counts", "prototypes"]
    tables = parts.fit([f"intermediate.{name}" for name in names], prototypes)
    shape = (request.classes, request.settings.subclasses)
    parts.fit(["intermediate.score_table"], lambda: [score_table(stream, *(t.unflatten(0, shape) for t in tables))])


def _project(source: FeatureStream, request: Request, *, seed: int, budget: int) -> list[Tensor]:
    """Return projection, bias, initial sub-class centres, and which of them exist, from one pass."""
    settings, classes = request.settings, request.classes
    check_at_least("subclasses", settings.subclasses, 1)
    # Three copies: the sample, what is being sorted, and the result.
    per_position = 3 * 4 * classes * source.shape.channels
    size = min(MOST_SAMPLED, max(budget // 4 // per_position, 8 * settings.subclasses))
    if size * per_position > budget:
        raise StatisticsError(
            f"sub-classes of {classes} classes over {source.shape.channels} channels need a memory budget of at least "
            f"{size * per_position / 2**20:.0f} MiB, found {budget / 2**20:.0f} MiB; raise --memory-budget"
        )
    moments, sample = ClassMoments(classes), ClassSample(classes, size, seed=seed)
    for block in source.blocks("intermediate: discriminants"):
        moments.add(block)
        sample.add(block)
    projection = discriminants(moments, components=settings.components, pca=settings.pca)
    points, present = sample.result()
    weight, bias = projection.weight.float(), projection.bias.float()
    points = points @ weight.to(points).T + bias.to(points)
    centres, alive = cluster_classes(points, present, subclasses=settings.subclasses, seed=seed)
    return [weight, bias, centres, alive]
