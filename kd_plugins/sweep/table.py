"""The result of a sweep as a table and a heat map."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .._tables import markdown_table
from ..analysis.drawing import new_figure
from .space import short_names


def sweep_table(result: Mapping[str, Any]) -> str:
    """Return the points of ``sweep.json`` as Markdown, the best first, and what the pick reaches on the test images."""
    points = sorted(result["points"], key=lambda point: -point["val"])
    names = short_names(list(points[0]["values"]))
    heads = (*names.values(), "validation, %")
    cells = [(*point["values"].values(), f"{point['val']:.2f}") for point in points]
    lines = markdown_table(heads, cells, left=())
    lines += [f"not trained: {_shown(failed['values'], names)}: {failed['reason']}" for failed in result["failed"]]
    pick, seeds = result["pick"], result["seeds"]
    lines += [
        "",
        f"Mean best validation score over seeds {', '.join(map(str, seeds))}; {len(points)} points"
        + (f" by the {result['sampler']} sampler." if result["sampler"] != "grid" else "."),
        f"Pick: {_shown(pick['values'], names)}. Tested once: {pick['test']} on the test images, over the same seeds.",
    ]
    if pick["at_edge"]:
        lines.append(f"The pick is at the edge of {' and '.join(pick['at_edge'])}: the best value may lie beyond.")
    return "\n".join(lines) + "\n"


def save_heat_map(result: Mapping[str, Any], path: Path) -> None:
    """Write the validation scores of ``sweep.json`` over the first two settings as PNG; over one setting, a curve.

    With more settings, a cell shows the best score over the others.
    """
    points, seeds = result["points"], len(result["seeds"])
    keys = list(points[0]["values"])
    names = short_names(keys)
    figure = new_figure(7.0, 5.0)
    axes = figure.add_subplot()
    title = f"{result['config']}: best validation score, " + (f"mean of {seeds} seeds" if seeds > 1 else "one seed")
    axes.set_title(title, fontsize=11)
    rows = _ordered(points, keys[0])
    if len(keys) == 1:
        scores = [max(p["val"] for p in points if p["values"][keys[0]] == value) for value in rows]
        axes.plot(range(len(rows)), scores, "o-", color="#1f4e79")
        axes.set_ylabel("validation, %")
        axes.grid(alpha=0.3)
        columns = rows
    else:
        columns = _ordered(points, keys[1])
        table = [[_best(points, keys, row, column) for column in columns] for row in rows]
        image = axes.imshow(table, cmap="viridis", aspect="auto")
        middle = (min(p["val"] for p in points) + max(p["val"] for p in points)) / 2
        for i, row in enumerate(table):
            for j, value in enumerate(row):
                if not math.isnan(value):
                    color = "white" if value < middle else "black"
                    axes.annotate(f"{value:.2f}", (j, i), ha="center", va="center", color=color, fontsize=9)
        axes.set_yticks(range(len(rows)), rows)
        axes.set_ylabel(names[keys[0]])
        figure.colorbar(image, label="validation, %" + (", best over the others" if len(keys) > 2 else ""))
    axes.set_xticks(range(len(columns)), columns, rotation=30 if len(columns) > 6 else 0)
    axes.set_xlabel(names[keys[min(1, len(keys) - 1)]])
    figure.savefig(path, dpi=150)


def _best(points: Sequence[Mapping[str, Any]], keys: Sequence[str], row: str, column: str) -> float:
    here = [p["val"] for p in points if (p["values"][keys[0]], p["values"][keys[1]]) == (row, column)]
    return max(here, default=math.nan)


def _ordered(points: Sequence[Mapping[str, Any]], key: str) -> list[str]:
    """Return the values of a key: numbers by size, others in the order of the points."""
    values = list(dict.fromkeys(point["values"][key] for point in points))
    try:
        return sorted(values, key=float)
    except ValueError:
        return values


def _shown(values: Mapping[str, str], names: Mapping[str, str]) -> str:
    return ", ".join(f"{names[key]} = {value}" for key, value in values.items())
