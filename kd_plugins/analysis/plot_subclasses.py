"""Plot a letKD teacher's assignments: marked images, histograms, and the student's targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .drawing import PALETTE, new_figure, save_figure, shortened
from .show_subclasses import Assignments

SHADES = (*PALETTE, "#000000")
OTHERS = "#999999"
PANEL = 2.1
"""Smallest side of an image in inches; it grows to give each position CELL inches, up to WIDEST."""
CELL, WIDEST = 0.26, 3.6
NUMBERED = 11.0
"""Smallest distance of positions, in points, at which numbers are readable."""
BARS = 12
"""Number of most frequent centres in a histogram; for sub-classes, all of a class are shown."""
NAMED_TICKS, NAME = 20, 22


def save_picture(found: Assignments, path: str | Path) -> None:
    """Write :func:`picture` as a PNG file.

    Raises:
        ConfigError: if the file cannot be written.
    """
    save_figure(picture(found), path, "picture")


def picture(found: Assignments, agreements: Mapping[str, Sequence[float] | None] | None = None) -> Any:
    """Return the marked images as a figure of matplotlib, one row per class.

    To the right of the images are the number of positions per sub-class (or centre) and the mean target of the student
    at these positions, over the sub-classes of all classes or over all centres. ``agreements`` has the agreement with
    the marks per class by name of the student; by default it is that of ``found``.

    References:
        letKD, Knowledge Distillation Layer that Lets the Student Decide, BMVC 2023, supplementary material, Figure 2.
    """
    agreements = {"student": found.agreement} if agreements is None else agreements
    labels = list(found.names)
    columns = max(int((found.labels == label).sum()) for label in labels)
    height, width = found.assigned.shape[1:]
    side = min(WIDEST, max(PANEL, CELL * max(height, width)))
    wide = [side] * columns + [2.5, 3.6]
    figure = new_figure(sum(wide) + 1.4, (side + 0.3) * len(labels) + 0.9)
    grid = figure.subplots(len(labels), columns + 2, squeeze=False, gridspec_kw={"width_ratios": wide})
    for row, label in enumerate(labels):
        colours = _colours(found, row)
        numbers = (found.labels == label).nonzero().flatten().tolist()
        for axes in grid[row, len(numbers) : columns]:
            axes.set_axis_off()
        for axes, number in zip(grid[row], numbers, strict=False):
            axes.set(xticks=[], yticks=[])
            _marked(axes, found, number, colours, points=side * 72 / max(height, width))
        grid[row, 0].set_ylabel(_row_title(found, row, agreements), fontsize=10)
        _histogram(grid[row, columns], found, row, colours)
        _targets(grid[row, columns + 1], found, row, colours)
    below = ["sub-class of the image's class", "sub-class of all; a tick is where a class begins"]
    for axes, title in zip(grid[-1, columns:], below if found.subclasses else ["centre", "centre"], strict=True):
        axes.set_xlabel(title, fontsize=9)
    figure.suptitle(_title(found), fontsize=12)
    return figure


def _title(found: Assignments) -> str:
    height, width = found.assigned.shape[1:]
    what = "centre with the most mass" if found.subclasses is None else "nearest sub-class of the image's own class"
    student, teacher = found.models
    return (
        f"{len(found.images)} test images, {height} x {width} positions each: {what}\n"
        f"in {found.layer} of the teacher {teacher}; student {student}"
    )


def _row_title(found: Assignments, row: int, agreements: Mapping[str, Sequence[float] | None]) -> str:
    name = f"class {shortened(list(found.names.values())[row], NAME)}"
    agrees = [f"{who} agrees: {100 * of[row]:.0f} %" for who, of in agreements.items() if of is not None]
    return "\n".join([name, *agrees])


def _shown(found: Assignments, row: int) -> list[int]:
    """Return the numbers of the sub-classes or centres in a row's histogram."""
    if found.subclasses is None:
        return _most_frequent(found.counts[row], BARS)
    start = list(found.names)[row] * found.subclasses
    return list(range(start, start + found.subclasses))


def _colours(found: Assignments, row: int) -> dict[int, Any]:
    """Return the colours of a row's sub-classes, or of the most frequent centres over all rows."""
    numbers = _shown(found, row)
    if found.subclasses is None:
        numbers = _most_frequent(found.counts.sum(0), len(SHADES))
    if len(numbers) <= len(SHADES):
        return dict(zip(numbers, SHADES, strict=False))
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    shades = colormaps["viridis"](torch.linspace(0, 1, len(numbers)).numpy())
    return dict(zip(numbers, map(to_hex, shades), strict=True))


def _most_frequent(counts: Tensor, most: int) -> list[int]:
    order = counts.argsort(descending=True, stable=True)[:most]
    return [number for number in order.tolist() if counts[number]]


def _marked(axes: Any, found: Assignments, image: int, colours: dict[int, Any], *, points: float) -> None:
    """Draw an image with a mark at the centre of each position; ``points`` is the distance of the marks."""
    high, wide = found.images.shape[2:]
    axes.imshow(found.images[image].permute(1, 2, 0).numpy(), extent=(0, wide, high, 0), interpolation="nearest")
    assigned = found.assigned[image]
    height, width = assigned.shape
    down, right = (torch.arange(height) + 0.5) * (high / height), (torch.arange(width) + 0.5) * (wide / width)
    y, x = (grid.flatten().tolist() for grid in torch.meshgrid(down, right, indexing="ij"))
    numbers = assigned.flatten().tolist()
    numbered = points >= NUMBERED
    across = min(11.0, points * (0.66 if numbered else 0.6))
    fills = [colours.get(number, OTHERS) for number in numbers]
    axes.scatter(x, y, s=across**2, c=fills, edgecolor="white", lw=min(0.7, across / 12))
    for *place, number, fill in zip(x, y, numbers, fills, strict=True) if numbered else ():
        text = _number(found, number)
        axes.text(
            *place, text, color=_ink(fill), ha="center", va="center_baseline",
            fontsize=across * (0.62, 0.62, 0.52, 0.42, 0.34)[min(len(text), 4)], in_layout=False,
        )  # fmt: skip


def _histogram(axes: Any, found: Assignments, row: int, colours: dict[int, Any]) -> None:
    shown, counts = _shown(found, row), found.counts[row]
    bars = [int(counts[number]) for number in shown]
    names = [_number(found, number) for number in shown]
    fills = [colours.get(number, OTHERS) for number in shown]
    places = range(len(bars))
    axes.bar_label(axes.bar(places, bars, color=fills, width=0.8), padding=1, fontsize=7)
    axes.set_ylabel("positions", fontsize=8)
    axes.set_xticks(places, names, fontsize=8, rotation=90 if max(map(len, names)) > 2 else 0)
    axes.set_ylim(0, 1.12 * float(found.counts.max()))
    total = int(counts.sum())
    rest = f", {total - sum(bars)} in rarer centres" if sum(bars) < total else ""
    axes.set_title(f"{total} positions{rest}", fontsize=9)
    _plain(axes)


def _targets(axes: Any, found: Assignments, row: int, colours: dict[int, Any]) -> None:
    """Draw the mean target, with the row's own sub-classes in the colours of the marks."""
    target = found.targets[row]
    total = len(target)
    thick = min(4.0, max(0.7, 0.75 * 3.2 * 72 / total))
    fills = [colours.get(number, OTHERS) for number in range(total)]
    axes.vlines(range(total), 0, target.tolist(), color=fills, lw=thick)
    axes.set_ylabel("mean target", fontsize=8)
    axes.set_xlim(-1, total)
    axes.set_ylim(0, 1.12 * max(float(found.targets.max()), 1e-6))
    _plain(axes)
    if found.subclasses is None:
        axes.set_title(f"mean target, largest {float(target.max()):.2f}", fontsize=9)
        return
    classes = total // found.subclasses
    own = list(found.names)[row]
    axes.axvspan((own * found.subclasses) - 0.5, (own + 1) * found.subclasses - 0.5, color="#e4e9ef", zorder=0, lw=0)
    ticks = range(0, classes, 1 + (classes - 1) // NAMED_TICKS)
    axes.set_xticks([tick * found.subclasses - 0.5 for tick in ticks], map(str, ticks), fontsize=8)
    axes.set_title(f"mean target, {100 * found.own_share(row):.0f} % on the own class", fontsize=9)


def _plain(axes: Any) -> None:
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _number(found: Assignments, number: int) -> str:
    return str(number if found.subclasses is None else number % found.subclasses)


def _ink(fill: str) -> str:
    red, green, blue = (int(fill[start : start + 2], 16) for start in (1, 3, 5))
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "white"
