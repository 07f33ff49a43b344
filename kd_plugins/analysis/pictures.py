"""Save the pictures of a test beside the checkpoint, and return their text reports."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .compare import comparison_report, save_heat_map
from .plot_subclasses import save_picture
from .show_subclasses import assignment_report

PICTURES: dict[str, tuple[str, str, Callable[[Any], str], Callable[[Any, Path], None]]] = {
    "comparison": ("cka", "heat map of all layers", comparison_report, save_heat_map),
    "assignments": ("subclasses", "marked images", assignment_report, save_picture),
}
"""Key in the result -> file name suffix, title, text report, drawing function."""


def check_plot(plot: str | None, *, compare_teacher: bool, show_subclasses: bool) -> None:
    """Raise ``ValueError`` if ``--plot`` is set, but not exactly one picture is requested.

    Example:
        >>> check_plot("a.png", compare_teacher=True, show_subclasses=False)
    """
    if plot is None or compare_teacher + show_subclasses == 1:
        return
    if compare_teacher:
        raise ValueError(
            f"--plot {plot} is one file, but --compare-teacher and --show-subclasses each make a picture: remove "
            "--plot or one of them"
        )
    raise ValueError("--plot is the heat map of --compare-teacher or the picture of --show-subclasses: add one of them")


def save_pictures(result: Mapping[str, Any], checkpoint: str | Path, plot: str | None) -> list[str]:
    """Save the pictures of a result of :func:`~kd_plugins.analysis.measure.measure`; return a text report for each.

    They are saved beside the checkpoint, or a single one in the file ``plot``.

    Raises:
        ValueError: if a file cannot be written.
    """
    texts = []
    for key, (end, title, report, save) in PICTURES.items():
        if result[key] is not None:
            beside = Path(checkpoint).expanduser()
            path = Path(plot or beside.with_name(f"{beside.stem}_{end}.png"))
            save(result[key], path)
            texts.append(f"{report(result[key])}\n{title}: {path}")
    return texts
