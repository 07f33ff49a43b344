"""A picture of finished runs: every seed, and mean and 95 % interval of each config."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from .paired import half_interval
from .runs_table import RunsRow

DOTS, MEAN, LINE = "#8a99ab", "#1f4e79", "#b5472f"
BOX = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}


def save_plot(rows: Sequence[RunsRow], path: str | Path) -> None:
    """Write the rows as a PNG file: a line per config, the baseline as a vertical line."""
    # Imported here because matplotlib takes a second to import; a bare Figure avoids pyplot's global state.
    from matplotlib.figure import Figure

    metric = rows[0].metric
    figure = Figure(figsize=(7.5, 1.9 + 0.45 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    for place, row in enumerate(rows):
        middle, half = mean(row.best), half_interval(row.best)
        label = None if place else "mean and 95 % interval"
        draw_seeds(axes, place, row.best)
        draw_mean(axes, place, middle, half, f"{middle:.2f}", label, bbox=BOX)
        if row.is_baseline:
            axes.axvline(middle, color=LINE, lw=1.5, ls="--", zorder=1, label=f"mean of {row.name}")
    axes.set_xlim(*_limits(rows))
    # The folder of configs with the same name goes on a second line.
    lay_out(figure, axes, [row.name.replace(" (", "\n(", 1) for row in rows])
    axes.set_xlabel(f"test {metric} of the best epoch, %")
    axes.set_ylabel("config")
    axes.set_title(f"Test {metric} of every config and seed", fontsize=11)
    figure.savefig(path, dpi=150, format="png")


def draw_seeds(axes: Any, place: int, values: Sequence[float]) -> None:
    """Draw a dot per seed below the middle of a line; equal scores would hide each other, so the dots are shifted."""
    below = [place + 0.24 + 0.09 * (number - (len(values) - 1) / 2) for number in range(len(values))]
    axes.scatter(values, below, s=20, color=DOTS, zorder=2, label=None if place else "one seed")


def draw_mean(
    axes: Any, place: int, middle: float, spread: float | None, text: str, label: str | None, **of_text: Any
) -> None:
    """Draw a mean with its spread and value above the middle of a line."""
    axes.errorbar(
        middle, place - 0.12, xerr=spread, fmt="o", ms=7, capsize=4, lw=1.8, color=MEAN, zorder=3, label=label
    )
    axes.annotate(text, (middle, place - 0.12), (0, 6), textcoords="offset points",
                  ha="center", va="bottom", fontsize=8, color=MEAN, **of_text)  # fmt: skip


def lay_out(figure: Any, axes: Any, names: Sequence[str]) -> None:
    """Name the lines, the first on top, and put the legend below the axes."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.7)
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)


def _limits(rows: Sequence[RunsRow]) -> tuple[float, float]:
    """Return the range of the axis: all seeds, and intervals up to twice that range.

    The interval of two seeds is more than 12 times their spread and would squeeze everything else.
    """
    low, high = min(min(row.best) for row in rows), max(max(row.best) for row in rows)
    spread = max(high - low, 0.5)
    halves = [(mean(row.best), half_interval(row.best) or 0.0) for row in rows]
    left = max(min(middle - half for middle, half in halves), low - spread / 2)
    right = min(max(middle + half for middle, half in halves), high + spread / 2)
    return min(left, low) - 0.05 * spread, max(right, high) + 0.05 * spread
