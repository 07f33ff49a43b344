"""Ranges and variances of logits (LSKD, Fig. 3 and 5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..._errors import ConfigError
from ..._tables import text_table
from ..base import TEACHER, Analysis, Study
from ..drawing import add_title, class_ticks, colours, frame, new_figure

BINS = 64
PERCENTILES = (0.001, 0.999)
RAW, STANDARDIZED = "raw", "standardized"
UNITS = {RAW: "logit", STANDARDIZED: "z-score"}


class Logits(Analysis):
    """Logits of one image, differences of class means, and mean and deviation of every image's logits.

    Args:
        image: index in the test set of the image whose logits are shown as bars; by default the one that the teacher
            gets right and that is nearest to the median of its standard deviation.

    References:
        Sun et al., Logit Standardization in Knowledge Distillation, CVPR 2024, Figures 3 and 5.
    """

    name = "logits"
    title = "logits, raw and standardized"

    def __init__(self, *, image: int | None = None) -> None:
        self.image = image

    def compute(self, study: Study) -> dict[str, Any]:
        """Return ``models`` with their means, ``bars``, ``difference`` and ``histogram``."""
        logits, labels = study.found.logits, study.found.labels
        forms = {name: {RAW: x, STANDARDIZED: z_scores(x)} for name, x in logits.items()}
        number = self._image(study)
        result: dict[str, Any] = {
            "statistics": {name: statistics(x, labels) for name, x in logits.items()},
            "bars": {
                "image": study.chosen[number],
                "label": labels[number],
                "logits": {name: {form: x[number] for form, x in both.items()} for name, both in forms.items()},
            },
            "histogram": histogram(logits),
        }
        classes = next(iter(logits.values())).shape[1]
        present = [c for c in range(classes) if (labels == c).any()]
        result["classes"] = [study.class_name(c) for c in present]
        result["classes_without_images"] = [study.class_name(c) for c in range(classes) if c not in set(present)]
        if study.teacher is None or not study.students:
            return result
        result["difference"] = {
            student.name: {
                form: summary(class_mean_difference(forms[student.name][form], forms[TEACHER][form], labels))
                for form in UNITS
            }
            for student in study.students
        }
        spread = logits[TEACHER].std(1, correction=0)
        for student in study.students:
            own = logits[student.name].std(1, correction=0)
            result["statistics"][student.name]["std_correlation"] = torch.corrcoef(torch.stack([own, spread]))[0, 1]
        return result

    def _image(self, study: Study) -> int:
        logits, labels = study.found.logits, study.found.labels
        if self.image is not None:
            if self.image not in study.chosen:
                raise ConfigError(
                    f"--image must be the index of one of the {len(study.chosen)} chosen test images, found "
                    f"{self.image}"
                )
            return study.chosen.index(self.image)
        x = logits.get(TEACHER, next(iter(logits.values())))
        spread = x.std(1, correction=0)
        distance = (spread - spread.median()).abs()
        wrong = x.argmax(1) != labels
        return int((distance + (distance.max() + 1) * wrong).argmin())

    def table(self, result: Mapping[str, Any]) -> list[str]:
        """Return a row per model."""
        heads = ["model", "mean", "std", "range", "target logit", "margin", "std corr.", "D mean", "D max"]
        rows = [[*heads, "D mean (z)", "D max (z)"]]
        for name, found in result["statistics"].items():
            row = [name, *(f"{found[key]:.3f}" for key in ("mean", "std", "range", "target", "margin"))]
            correlation = found.get("std_correlation")
            row.append("" if correlation is None else f"{correlation:.3f}")
            difference = result.get("difference", {}).get(name)
            row += [f"{difference[form][key]:.3f}" if difference else "" for form in UNITS for key in ("mean", "max")]
            rows.append(row)
        lines = text_table(rows)
        if "difference" in result:
            lines.append("D: absolute difference of class-mean logits from the teacher's; (z): of standardized logits")
        missing = result["classes_without_images"]
        if missing:
            lines.append(f"classes without an image are left out: {', '.join(missing)}")
        return lines

    def draw(self, result: Mapping[str, Any], study: Study) -> Any:
        """Return the picture: a column per model; rows of bars, heat maps and histograms."""
        names = list(result["statistics"])
        compared = "difference" in result
        heights = [1.0, 1.0, 1.35] + ([1.45, 1.45] if compared else [])
        figure = new_figure(max(5.0, 0.8 + 2.5 * len(names)), 1.1 + 1.5 * sum(heights))
        grid = figure.subplots(len(heights), len(names), squeeze=False, gridspec_kw={"height_ratios": heights})
        for row, form in enumerate(UNITS):
            _bars(grid[row], result, names, form)
        _histograms(figure, grid[2], result, names)
        if compared:
            for row, form in enumerate(UNITS, start=3):
                _heat_maps(figure, grid[row], result, names, form)
        add_title(figure, result, "Logits")
        return figure


def z_scores(logits: Tensor) -> Tensor:
    """Return logits (N, C) with mean 0 and standard deviation 1 over the classes; a constant row becomes 0."""
    spread = logits.std(1, correction=0, keepdim=True)
    return (logits - logits.mean(1, keepdim=True)) / spread.masked_fill(spread == 0, 1)


def statistics(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Return means over the images of: mean, standard deviation and range over the classes, target logit, margin.

    Example:
        >>> found = statistics(torch.tensor([[3.0, 1.0]]), torch.tensor([1]))
        >>> {name: value.item() for name, value in found.items()}
        {'mean': 2.0, 'std': 1.0, 'range': 2.0, 'target': 1.0, 'margin': 2.0}
    """
    two = logits.topk(2, dim=1).values
    return {
        "mean": logits.mean(),
        "std": logits.std(1, correction=0).mean(),
        "range": (logits.amax(1) - logits.amin(1)).mean(),
        "target": logits.gather(1, labels[:, None]).mean(),
        "margin": (two[:, 0] - two[:, 1]).mean(),
    }


def class_mean_difference(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """Return the absolute difference of the mean logits of every class that has images, shape (C', C').

    Example:
        >>> student, teacher = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 5.0]]), torch.zeros(3, 2)
        >>> class_mean_difference(student, teacher, torch.tensor([0, 0, 1]))  # means (2, 0) and (0, 5)
        tensor([[2., 0.],
                [0., 5.]])
    """
    present = labels.unique()
    rows = torch.stack([(student - teacher)[labels == label].mean(0) for label in present])
    return rows[:, present].abs()


def summary(difference: Tensor) -> dict[str, Tensor]:
    """Return mean, maximum and the matrix itself."""
    return {"mean": difference.mean(), "max": difference.max(), "matrix": difference}


def histogram(logits: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return edges of the images' mean and standard deviation, shared by the models, and counts of shape (64, 64).

    The edges span the 0.1 to 99.9 percentiles over all models; images outside are not counted.
    """
    points = {name: torch.stack([x.mean(1), x.std(1, correction=0)]).double() for name, x in logits.items()}
    edges = []
    for axis in (0, 1):
        values = torch.cat([both[axis] for both in points.values()])
        low, high = values.quantile(torch.tensor(PERCENTILES, dtype=torch.float64)).tolist()
        pad = max(1e-6, 1e-3 * (high - low))
        edges.append(torch.linspace(low - pad, high + pad, BINS + 1, dtype=torch.float64))
    counts = {name: torch.histogramdd(both.T, bins=edges).hist.long() for name, both in points.items()}
    return {"mean_edges": edges[0], "std_edges": edges[1], "counts": counts}


def _bars(row: Any, result: Mapping[str, Any], names: list[str], form: str) -> None:
    bars = result["bars"]
    colour = colours(names)
    values = {name: bars["logits"][name][form] for name in names}
    low, high = min(map(min, values.values())), max(map(max, values.values()))
    pad = 0.08 * (high - low) or 1
    for axes, name in zip(row, names, strict=True):
        x = torch.tensor(values[name])
        shades = ["#D55E00" if c == bars["label"] else colour[name] for c in range(len(x))]
        axes.bar(range(len(x)), x.tolist(), color=shades, width=0.85)
        axes.axhline(0, color="black", lw=0.6)
        axes.set_ylim(low - pad, high + pad)
        axes.tick_params(labelsize=7)
        axes.set_title(f"{name}\nstd {x.std(correction=0):.2f}" if form == RAW else f"std {x.std(correction=0):.2f}",
                       fontsize=9)  # fmt: skip
        frame(axes, f"class (image {bars['image']}, its label in red)", fontsize=8)
    row[0].set_ylabel(UNITS[form], fontsize=8)


def _histograms(figure: Any, row: Any, result: Mapping[str, Any], names: list[str]) -> None:
    from matplotlib.colors import LogNorm

    found = result["histogram"]
    most = max(max(map(max, found["counts"][name])) for name in names)
    for axes, name in zip(row, names, strict=True):
        counts = torch.tensor(found["counts"][name], dtype=torch.float)
        mesh = axes.pcolormesh(
            found["mean_edges"], found["std_edges"], counts.T.masked_fill(counts.T == 0, float("nan")).numpy(),
            cmap="viridis", norm=LogNorm(1, max(most, 2)),
        )  # fmt: skip
        axes.tick_params(labelsize=7)
        axes.set_xlabel("mean of an image's logits", fontsize=8)
    row[0].set_ylabel("std of an image's logits", fontsize=8)
    steps = [step * 10**power for power in range(len(str(most))) for step in (1, 2, 5)]
    bar = figure.colorbar(mesh, ax=list(row), label="images", fraction=0.04)
    bar.set_ticks([step for step in steps if step <= max(most, 2)], minor=False)
    bar.ax.yaxis.set_major_formatter("{x:.0f}")
    bar.ax.minorticks_off()


def _heat_maps(figure: Any, row: Any, result: Mapping[str, Any], names: list[str], form: str) -> None:
    most = max(found[form]["max"] for found in result["difference"].values())
    for axes, name in zip(row, names, strict=True):
        if name not in result["difference"]:
            axes.set_axis_off()
            text = f"|student - teacher|\nof class-mean\n{'logits' if form == RAW else 'standardized logits'}:"
            axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=9)
            continue
        found = result["difference"][name][form]
        image = axes.imshow(found["matrix"], cmap="magma", vmin=0, vmax=most or 1)
        class_ticks(axes, result["classes"], both=True)
        axes.set_title(f"{name}: mean {found['mean']:.2f}, max {found['max']:.2f}", fontsize=8)
        axes.set_xlabel("logit of class", fontsize=8)
        axes.set_ylabel("images of class", fontsize=8)
    figure.colorbar(image, ax=list(row), label=UNITS[form], fraction=0.04)
