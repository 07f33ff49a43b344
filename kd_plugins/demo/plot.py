"""The demo's plot: means with their spread, every seed, and the teacher."""

from __future__ import annotations

from pathlib import Path

from .table import Results

DOTS, MEAN, LINE = "#8a99ab", "#1f4e79", "#b5472f"


def save_plot(results: Results, path: str | Path) -> None:
    """Write the results as a PNG file.

    Args:
        results: what was measured.
        path: of the file.
    """
    # Imported here because matplotlib takes a second; a bare Figure has no state that others share.
    from matplotlib.figure import Figure

    rows = results.rows
    figure = Figure(figsize=(1.6 + 1.3 * len(rows), 4.2), layout="constrained")
    axes = figure.add_subplot()
    for place, row in enumerate(rows):
        # Side by side, or equal accuracies would hide each other.
        count = len(row.accuracies)
        aside = [place + 0.18 + 0.09 * (number - (count - 1) / 2) for number in range(count)]
        first = place == 0
        axes.scatter(aside, row.accuracies, s=26, color=DOTS, zorder=2, label="one seed" if first else None)
        label = ("mean" if row.sd is None else "mean ± sd") if first else None
        axes.errorbar(
            place - 0.12, row.mean, yerr=row.sd, fmt="o", ms=8, capsize=5, lw=1.8, color=MEAN, zorder=3, label=label
        )
        axes.annotate(f"{row.mean:.1f}", (place - 0.12, row.mean), (-9, 0), textcoords="offset points",
                      ha="right", va="center", color=MEAN)  # fmt: skip
    axes.axhline(results.teacher, color=LINE, lw=1.5, ls="--", zorder=1, label=f"teacher ({results.teacher:.1f})")
    axes.set_xticks(range(len(rows)), [row.title.replace(", ", "\n") for row in rows])
    axes.set_xlim(-0.6, len(rows) - 0.4)
    axes.set_xlabel("how the student learns")
    axes.set_ylabel(f"top-1 accuracy on {results.test_images} test images, %")
    axes.set_title("ResNet-8 from a ViT, handwritten digits", fontsize=11)
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(path, dpi=150)
