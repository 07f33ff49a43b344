"""Parts of pictures that all analyses share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .._errors import ConfigError
from ..data.inside import normalisation
from .base import TEACHER, Study

# Okabe and Ito's palette, which is safe for colour-blind readers.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442")
TEACHER_COLOUR = "#333333"
NAMED = 20
"""Largest number of classes whose names are shown."""
NAME = 18
PIXELS = 1200
TRUE, FOUND = "#7fd17f", "#ffb347"
"""Colours of true boxes and of those that a detector finds."""
LEAST_SCORE = 0.5
"""Least score of a box that is drawn."""


def new_figure(width: float, height: float) -> Any:
    """Return a figure of matplotlib; width and height in inches."""
    # Imported here because matplotlib takes a second to import; a bare Figure avoids pyplot's global state.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def write_png(figure: Any, path: Path) -> None:
    """Write a figure as a PNG file of at most 1,200 pixels in width."""
    figure.savefig(path, dpi=min(150, PIXELS / figure.get_figwidth()), format="png", pil_kwargs={"optimize": True})


def add_title(
    figure: Any, result: Mapping[str, Any], text: str, *, images: bool = True, about: str | None = None
) -> None:
    """Write what is shown above a figure and, unless ``about`` is given, models, data and number of images."""
    data = f"; {result['data']}, {result['images']} images" if images else ""
    second = f"{_pair_of(result)}{data}" if about is None else about
    # A character is about 0.6 times as wide as the font is high; 72 points are an inch.
    fitting = 0.95 * 72 * figure.get_figwidth() / (0.6 * max(len(text), len(second)))
    figure.suptitle(f"{text}\n{second}", fontsize=min(11, fitting))


def _pair_of(result: Mapping[str, Any]) -> str:
    """Return ``"student resnet8, teacher vit"``."""
    models = result["models"]
    student = next((model["architecture"] for name, model in models.items() if name != TEACHER), None)
    teacher = models[TEACHER]["architecture"] if TEACHER in models else None
    return ", ".join(f"{side} {title}" for side, title in (("student", student), ("teacher", teacher)) if title)


def colours(names: Sequence[str]) -> dict[str, Any]:
    """Return a colour per model, the same in every picture of the same models."""
    students = [name for name in names if name != TEACHER]
    return {TEACHER: TEACHER_COLOUR} | {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(students)}


def class_ticks(axes: Any, names: Sequence[str], *, both: bool = False) -> None:
    """Label an axis of classes: with names where they are few, else with every so many numbers."""
    if len(names) <= NAMED:
        shown = [shortened(name) for name in names]
        ticks: Sequence[int] = range(len(names))
        turned = 90 if max(map(len, shown)) > 2 else 0
    else:
        ticks = range(0, len(names), 10 ** (len(str(len(names) - 1)) - 1))
        shown, turned = list(map(str, ticks)), 0
    axes.set_xticks(ticks, shown, rotation=turned, fontsize=8)
    if both:
        axes.set_yticks(ticks, shown, fontsize=8)


def shortened(name: str, most: int = NAME) -> str:
    """Return a name of at most ``most`` characters."""
    return name if len(name) <= most else name[: most - 1] + "…"


def frame(axes: Any, x: str, y: str = "", *, grid: str | None = None, **text: Any) -> None:
    """Name the axes of a plot, draw grid lines (``"x"``, ``"y"`` or ``"both"``), and remove upper and right edge."""
    axes.set_xlabel(x, **text)
    axes.set_ylabel(y, **text)
    if grid is not None:
        axes.grid(axis=grid, alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def shown_images(study: Study, numbers: Sequence[int]) -> Tensor:
    """Return images by their index in the test set, without normalisation, shape (n, 3, H, W)."""
    return displayed(study.images([study.chosen.index(number) for number in numbers]), normalisation(study.dataset))


def bare(axes: Any) -> None:
    """Remove ticks and frame of an image."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def save_figure(figure: Any, path: str | Path, title: str) -> None:
    """Write a figure of matplotlib as a PNG file.

    Raises:
        ConfigError: if the file cannot be written.
    """
    try:
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise ConfigError(f"the {title} cannot be written to {path}: {error.strerror}; give another --plot") from error


def draw_boxes(axes: Any, boxes: Sequence[Sequence[float]], texts: Sequence[str], colour: str) -> None:
    """Draw boxes (x1, y1, x2, y2) on a picture, each with a text above, or inside at the picture's upper edge."""
    from matplotlib.patches import Rectangle

    for (x1, y1, x2, y2), text in zip(boxes, texts, strict=True):
        # A pixel's centre is at a whole number in a picture, its corners half a pixel beside.
        axes.add_patch(Rectangle((x1 - 0.5, y1 - 0.5), x2 - x1, y2 - y1, fill=False, color=colour, lw=1.4))
        inside = y1 < abs(axes.get_ylim()[0] - axes.get_ylim()[1]) / 12
        axes.annotate(
            text, (x1, y1), (2, -2) if inside else (0, 1), textcoords="offset points", color=colour, fontsize=8,
            va="top" if inside else "bottom",
        )  # fmt: skip


def displayed(images: Tensor, known: tuple[list[float], list[float]] | None) -> Tensor:
    """Return images (N, c, H, W) without normalisation, with three channels from 0 to 1."""
    images = images.float()
    if known is not None:
        mean, std = (torch.as_tensor(values, dtype=images.dtype).view(-1, 1, 1) for values in known)
        images = images * std + mean
    elif images.min() < 0 or images.max() > 1:
        low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
        images = (images - low) / (high - low).clamp_min(1e-6)
    images = images.clamp(0, 1)
    return images[:, :3] if images.shape[1] >= 3 else images[:, :1].expand(-1, 3, -1, -1)


def unit_range(maps: Tensor) -> Tensor:
    """Return maps (N, H, W) from 0 to 1 each; a constant map becomes zeros.

    Example:
        >>> unit_range(torch.tensor([[[1.0, 3.0]], [[2.0, 2.0]]]))
        tensor([[[0., 1.]],
        <BLANKLINE>
                [[0., 0.]]])
    """
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    spread = high - low
    return (maps - low) / spread.masked_fill(spread == 0, torch.inf)


def enlarged(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Return maps (N, H, W) at another size, bilinearly."""
    return F.interpolate(maps[:, None].float(), size, mode="bilinear", align_corners=False)[:, 0]


def first_of_classes(labels: Tensor, most: int) -> list[int]:
    """Return the first image of each of the first classes, then more images where there are fewer classes.

    Example:
        >>> first_of_classes(torch.tensor([3, 3, 1]), 3)
        [0, 2, 1]
    """
    first: dict[int, int] = {}
    for number, label in enumerate(labels.tolist()):
        first.setdefault(label, number)
    rest = [number for number in range(len(labels)) if number not in first.values()]
    return [*first.values(), *rest][:most]


def map_grid(
    images: Tensor, titles: Sequence[str], columns: Mapping[str, Sequence[Tensor | None]], *, label: str
) -> Any:
    """Return a figure with a row per title: an image, then a map from 0 to 1 over it for every column.

    The images (n, 3, H, W) have values from 0 to 1. A column has a map (h, w) per row, or None for an empty cell. All
    maps share one colour scale with its label.
    """
    figure = new_figure(max(6.0, 1.1 + 1.45 * (1 + len(columns))), 1.0 + 1.35 * len(images))
    grid = figure.subplots(len(images), 1 + len(columns), squeeze=False)
    size = (images.shape[2], images.shape[3])
    shown, grey = images.permute(0, 2, 3, 1).numpy(), images.mean(1).numpy()
    for row, title in enumerate(titles):
        for axes in grid[row]:
            bare(axes)
        grid[row, 0].imshow(shown[row])
        grid[row, 0].set_ylabel(title, fontsize=8)
        for axes, maps in zip(grid[row, 1:], columns.values(), strict=True):
            one = maps[row]
            if one is not None:
                axes.imshow(grey[row], cmap="gray", vmin=0, vmax=1)
                drawn = axes.imshow(enlarged(one[None], size)[0].numpy(), cmap="jet", vmin=0, vmax=1, alpha=0.5)
    for axes, title in zip(grid[0], ["image", *columns], strict=True):
        axes.set_title(title, fontsize=9)
    bar = figure.colorbar(drawn, ax=grid[:, 1:].ravel().tolist(), shrink=0.6, fraction=0.04, label=label)
    bar.solids.set_alpha(1)
    return figure
