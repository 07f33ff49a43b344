"""The demo's plot: mean and standard deviation of each method, every seed, and the teacher."""

from __future__ import annotations

from pathlib import Path

from ..analysis.drawing import new_figure
from ..reports.plot import LINE, draw_mean, draw_seeds, lay_out
from .table import Results


def save_plot(results: Results, path: str | Path) -> None:
    """Write the results as a PNG file."""
    rows = results.rows
    figure = new_figure(7.0, 1.9 + 0.42 * len(rows))
    axes = figure.add_subplot()
    for place, row in enumerate(rows):
        if row.sd is not None:  # a single seed is the mean
            draw_seeds(axes, place, row.accuracies)
        label = f"seed {results.seeds[0]}" if row.sd is None else "mean ± sd"
        draw_mean(axes, place, row.mean, row.sd, f"{row.mean:.1f}", None if place else label)
    axes.axvline(results.teacher, color=LINE, lw=1.5, ls="--", zorder=1, label=f"teacher ({results.teacher:.1f})")
    lay_out(figure, axes, [row.title for row in rows])
    axes.set_xlabel(f"top-1 accuracy on {results.test_images} test images, %")
    axes.set_ylabel("how the student learns")
    axes.set_title("ResNet-8 from a ViT, handwritten digits", fontsize=11)
    figure.savefig(path, dpi=150)
