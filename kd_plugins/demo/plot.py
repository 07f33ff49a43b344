"""The demo's plot: mean and standard deviation of each method, every seed, and the teacher."""

from __future__ import annotations

from pathlib import Path

from .table import Results

DOTS, MEAN, LINE = "#8a99ab", "#1f4e79", "#b5472f"


def save_plot(results: Results, path: str | Path) -> None:
    """Write the results as a PNG file."""
    # Imported here because matplotlib takes a second to import; a bare Figure avoids pyplot's global state.
    from matplotlib.figure import Figure

    rows = results.rows
    figure = Figure(figsize=(7.0, 1.9 + 0.42 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    for place, row in enumerate(rows):
        # Dots are shifted vertically, because equal accuracies would hide each other.
        count = len(row.accuracies)
        below = [place + 0.24 + 0.09 * (number - (count - 1) / 2) for number in range(count)]
        first = place == 0
        if count > 1:  # a single seed is the mean
            axes.scatter(row.accuracies, below, s=20, color=DOTS, zorder=2, label="one seed" if first else None)
        label = (f"seed {results.seeds[0]}" if row.sd is None else "mean ± sd") if first else None
        axes.errorbar(
            row.mean, place - 0.12, xerr=row.sd, fmt="o", ms=7, capsize=4, lw=1.8, color=MEAN, zorder=3, label=label
        )
        axes.annotate(f"{row.mean:.1f}", (row.mean, place - 0.12), (0, 6), textcoords="offset points",
                      ha="center", va="bottom", fontsize=8, color=MEAN)  # fmt: skip
    axes.axvline(results.teacher, color=LINE, lw=1.5, ls="--", zorder=1, label=f"teacher ({results.teacher:.1f})")
    axes.set_yticks(range(len(rows)), [row.title for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.7)
    axes.set_xlabel(f"top-1 accuracy on {results.test_images} test images, %")
    axes.set_ylabel("how the student learns")
    axes.set_title("ResNet-8 from a ViT, handwritten digits", fontsize=11)
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(path, dpi=150)
