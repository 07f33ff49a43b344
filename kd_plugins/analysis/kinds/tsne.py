"""t-SNE of the pooled feature, and numbers on the feature itself (LSKD, Fig. 4; SFKD, Fig. 4 and 7)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..._checks import check_whole
from ..._errors import ConfigError
from ..._tables import text_table
from ..base import Analysis, Reading, Study, Subject
from ..drawing import NAMED, add_title, bare, new_figure, shortened

MOST = 2000
PERPLEXITY = 30.0
NEIGHBOURS = 5
FEATURE = "pooled"


class TSNE(Analysis):
    """t-SNE of the input of the classifier.

    Distances in a t-SNE are no measure of distances between features, so the table has numbers of the features.

    Args:
        classes: number of classes to show, drawn by the seed; all by default.

    References:
        van der Maaten and Hinton, Visualizing Data using t-SNE, JMLR 2008.
    """

    name = "tsne"
    title = "t-SNE of the pooled feature"

    def __init__(self, *, classes: int | None = None) -> None:
        if classes is not None:
            check_whole("--classes", classes, 2)
        self.classes = classes

    def reads(self, study: Study, subject: Subject) -> Reading:
        """Return the pooled feature."""
        point = subject.point(FEATURE)
        return Reading({FEATURE: ((point.path, point.io), lambda tensor: point.as_map(tensor).mean((2, 3)))})

    def compute(self, study: Study) -> dict[str, Any]:
        """Return ``labels``, and for every model the ``points`` and the numbers of its feature."""
        rows = chosen_rows(study.found.labels, self.classes, study.seed)
        labels = study.found.labels[rows]
        shown = labels.unique().tolist()
        if len(rows) < 3 or len(shown) < 2:
            raise ConfigError(f"tsne needs 3 images of 2 classes, found {len(rows)} of {len(shown)}: raise --images")
        perplexity = min(PERPLEXITY, (len(rows) - 1) / 3)
        features = {s.name: study.found.of(self.name, s.name, FEATURE)[rows] for s in study.subjects}
        return {
            "perplexity": perplexity,
            "rows": [study.chosen[row] for row in rows.tolist()],
            "labels": labels,
            "classes": {label: study.class_name(label) for label in shown},
            "points": {name: embedded(x, perplexity, study.seed) for name, x in features.items()},
            "features": {name: separation(x, labels) for name, x in features.items()},
        }

    def table(self, result: Mapping[str, Any]) -> list[str]:
        """Return a row per model."""
        rows = [["model", "silhouette (cosine)", "5-neighbour accuracy", "within / between scatter"]]
        for name, found in result["features"].items():
            values = [found[key] for key in ("silhouette", "neighbour_accuracy", "scatter_ratio")]
            texts = ["undefined" if value is None else f"{value:.3f}" for value in values]
            rows.append([name, *texts])
        lines = [*text_table(rows), "the numbers are of the features; distances in a t-SNE are no measure"]
        if result["perplexity"] < PERPLEXITY:
            lines.append(
                f"perplexity lowered to {result['perplexity']:.1f}, as there are {len(result['labels'])} images"
            )
        return lines

    def draw(self, result: Mapping[str, Any], study: Study) -> Any:
        """Return a panel per model, with one colour per class."""
        from matplotlib import colormaps

        names = list(result["points"])
        figure = new_figure(max(6.0, 0.6 + 2.9 * len(names)), 4.6)
        grid = figure.subplots(1, len(names), squeeze=False)[0]
        labels = np.asarray(result["labels"])
        classes = result["classes"]
        few = len(classes) <= NAMED
        shades = colormaps["tab10" if len(classes) <= 10 else "tab20" if few else "turbo"]
        places = range(len(classes)) if few else np.linspace(0, 1, len(classes))
        for axes, name in zip(grid, names, strict=True):
            points = np.asarray(result["points"][name])
            for (label, title), place in zip(classes.items(), places, strict=True):
                own = points[labels == int(label)]
                axes.scatter(*own.T, s=9, color=shades(place), lw=0, label=shortened(title))
            found = result["features"][name]
            score = found["silhouette"]
            axes.set_title(f"{name}\nsilhouette {'undefined' if score is None else f'{score:.2f}'}", fontsize=9)
            axes.set_aspect("equal", adjustable="datalim")
            bare(axes)
            axes.spines[:].set(visible=True, color="#cccccc")
            axes.set_xlabel("t-SNE 1 (no unit)", fontsize=8)
        grid[0].set_ylabel("t-SNE 2 (no unit)", fontsize=8)
        if few:
            handles, texts = grid[0].get_legend_handles_labels()
            figure.legend(handles, texts, loc="outside lower center", ncols=min(10, len(texts)), frameon=False,
                          fontsize=8, title="class", title_fontsize=8, markerscale=2)  # fmt: skip
        few_shown = f", {len(labels)} of them shown" if len(labels) < result["images"] else ""
        add_title(figure, result, f"t-SNE of the pooled feature, {len(classes)} classes{few_shown}")
        return figure


def chosen_rows(labels: Tensor, classes: int | None, seed: int) -> Tensor:
    """Return up to 2,000 rows, the same number of every class; of ``classes`` random classes, if given.

    Example:
        >>> chosen_rows(torch.tensor([0, 1, 2, 1]), 2, seed=0)
        tensor([0, 2])
    """
    generator = torch.Generator().manual_seed(seed)
    shown = labels.unique()
    if classes is not None:
        if classes > len(shown):
            raise ConfigError(f"--classes must be at most {len(shown)}, the classes of the images, found {classes}")
        shown = shown[torch.randperm(len(shown), generator=generator)[:classes]]
    rows = [(labels == label).nonzero().flatten() for label in shown]
    if sum(map(len, rows)) > MOST:
        most = max(MOST // len(rows), 1)
        rows = [row[torch.randperm(len(row), generator=generator)[:most]] for row in rows]
    return torch.cat(rows).sort().values


def embedded(features: Tensor, perplexity: float, seed: int) -> Any:
    """Return the t-SNE of features (N, d), shape (N, 2)."""
    # Imported here because scikit-learn takes a second to import.
    from sklearn import manifold

    x = features.double().numpy()
    if np.ptp(x, axis=0).max() == 0:
        return np.zeros((len(x), 2))  # the initial PCA of a constant feature is not defined
    return manifold.TSNE(init="pca", perplexity=perplexity, random_state=seed).fit_transform(x.astype(np.float32))


def separation(features: Tensor, labels: Tensor) -> dict[str, float]:
    """Return how far apart the classes are in a feature (N, d).

    Returns:
        ``silhouette`` of the cosine distance, NaN if it is undefined; ``neighbour_accuracy`` of the majority of the 5
        nearest other images; ``scatter_ratio``, the trace of the scatter within classes over that between them.
    """
    from sklearn.metrics import silhouette_score
    from sklearn.neighbors import KNeighborsClassifier

    x, y = features.double().numpy(), labels.numpy()
    classes = np.unique(y)
    silhouette = silhouette_score(x, y, metric="cosine") if 2 <= len(classes) < len(y) else float("nan")
    near = min(NEIGHBOURS, len(y) - 1)
    # The nearest image is the image itself, unless another is equal to it.
    order = KNeighborsClassifier(near + 1).fit(x, y).kneighbors(x, return_distance=False)
    others = np.array([[i for i in row if i != own][:near] for own, row in enumerate(order)])
    votes = np.stack([(y[others] == label).sum(1) for label in classes], axis=1)
    right = classes[votes.argmax(1)] == y
    groups = [x[y == label] for label in classes]
    within = sum(((own - own.mean(0)) ** 2).sum() for own in groups)
    between = sum(len(own) * ((own.mean(0) - x.mean(0)) ** 2).sum() for own in groups)
    return {
        "silhouette": float(silhouette),
        "neighbour_accuracy": float(right.mean()),
        "scatter_ratio": float(within / between) if between > 0 else float("nan"),
    }
