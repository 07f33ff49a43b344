"""Pictures of the information plane and of a sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..base import TEACHER
from ..drawing import add_title, colours, frame, new_figure

IMAGE, LABEL = "I(X;F): R0 - R (nats per pixel)", "I(Y;F): log C - CE (nats)"
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def sweep_picture(result: Mapping[str, Any]) -> Any:
    """Return information about image and label against the share that is kept; a ring marks the choice."""
    figure = new_figure(8.0, 4.8)
    grid = figure.subplots(1, 2)
    shade = colours(list(result["information"]))
    for name, points in result["information"].items():
        for marker, (point, found) in zip(MARKERS, points.items(), strict=False):
            shares = [one["share_kept"] for one in found["keep"]]
            for axes, key in zip(grid, ("image", "label"), strict=True):
                axes.errorbar(
                    shares, [one[key] for one in found["keep"]], yerr=[one[f"{key}_sd"] for one in found["keep"]],
                    color=shade[name], marker=marker, ms=4, capsize=3, lw=1.4, label=f"{name}, {point}",
                )  # fmt: skip
            chosen = next(one for one in found["keep"] if one["share_kept"] == found["chosen"])
            grid[0].plot(
                chosen["share_kept"], chosen["image"], "o", ms=13, mfc="none", color=shade[name], mew=1.5,
                label=f"{name}, {point}: K = {chosen['share_kept']:g}{' (flat)' if found['flat'] else ''}",
            )  # fmt: skip
            if shares[-1] < 1:
                grid[0].axvspan(shares[-1], 1.0, color="#e4e9ef", lw=0, zorder=0, label="the same mask")
    grid[1].axhline(result["log_classes"], color="black", lw=1, ls=":", label="log C, the most possible")
    for axes, label in zip(grid, (IMAGE, LABEL), strict=True):
        frame(axes, "K, share of entries that is kept", label, grid="both")
        axes.set_xlim(0.05, 1.05)
    _legend(figure, grid)
    add_title(figure, result, f"Information of masked features, {_fits(result)}")
    return figure


def plane(result: Mapping[str, Any], runs: Mapping[str, Sequence[tuple[int, str]]]) -> Any:
    """Return the information plane: a line through the epochs of each run, numbered by epoch."""
    figure = new_figure(8.0, 5.6)
    axes = figure.subplots()
    shade = colours(list(runs))
    for run, epochs in runs.items():
        for marker, point in zip(MARKERS, result["information"][epochs[0][1]], strict=False):
            found = [result["information"][name][point]["keep"][0] for _, name in epochs]
            axes.errorbar(
                [one["image"] for one in found], [one["label"] for one in found],
                xerr=[one["image_sd"] for one in found], yerr=[one["label_sd"] for one in found],
                color=shade[run], marker=marker, ms=9 if run == TEACHER else 6, capsize=2, lw=1.3, elinewidth=0.8,
                label=f"{run}, {point}",
            )  # fmt: skip
            for (epoch, _), one in zip(epochs, found, strict=True):
                if epoch:
                    axes.annotate(str(epoch), (one["image"], one["label"]), (5, 4), textcoords="offset points",
                                  fontsize=7, color=shade[run])  # fmt: skip
    axes.axhline(result["log_classes"], color="black", lw=1, ls=":", label="log C, the most possible")
    frame(axes, IMAGE, LABEL, grid="both")
    _legend(figure, [axes])
    numbered = "; numbers: epochs" if any(epoch for epochs in runs.values() for epoch, _ in epochs) else ""
    add_title(figure, result, f"Information plane, {_fits(result)}{numbered}")
    return figure


def _fits(result: Mapping[str, Any]) -> str:
    return "one fit" if result["repeats"] == 1 else f"mean +- sd of {result['repeats']} fits"


def _legend(figure: Any, grid: Any) -> None:
    entries: dict[str, Any] = {}
    for axes in grid:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    figure.legend(entries.values(), entries, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
