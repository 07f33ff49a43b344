"""Metrics over the epochs of runs, with a band over the seeds (SFKD, Fig. 6)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from ..._checks import suggestion
from ..._errors import ConfigError
from ..._tables import text_table
from ...runtime.metrics import SCORES
from ...runtime.run_names import METRICS
from ..base import Analysis, Study
from ..drawing import add_title, colours, frame, new_figure

UNITS = {
    **{score: f"{label}, %" for score, label in SCORES.items()},
    "loss": "weighted sum of its terms",
    "nll": "nats",
    "ece": "%",
    "seconds": "s",
}
SETS = ("val", "test")


class Curves(Analysis):
    """Numbers of ``metrics.jsonl`` over the epochs of several configs; models are not built.

    Args:
        keys: such as ``loss``, ``terms.ce``, ``lr``, ``val.top1``; by default the loss and the main scores.
    """

    name = "curves"
    title = "metrics over the epochs"
    needs_models = False

    def __init__(self, *, keys: list[str] | None = None) -> None:
        self.keys = keys

    def compute(self, study: Study) -> dict[str, Any]:
        """Return for every run its ``folders``, and ``curves``: epochs, mean, sd and every seed of a key."""
        named = study.runs or {study.config.path.stem: Path("runs") / study.config.path.stem}
        folders = {name: run_folders(path) for name, path in named.items()}
        lines = {name: [_lines(folder) for folder in found] for name, found in folders.items()}
        known = list(dict.fromkeys(key for runs in lines.values() for run in runs for line in run for key in line))
        keys = self.keys if self.keys is not None else _main_keys(known)
        for key in keys:
            if key not in known:
                raise ConfigError(f"--keys: the runs have no {key!r} in {METRICS}; {suggestion(key, known)}")
        runs = {
            name: {"folders": list(map(str, folders[name])), "curves": {key: curve(found, key) for key in keys}}
            for name, found in lines.items()
        }
        return {"keys": keys, "runs": runs}

    def table(self, result: Mapping[str, Any]) -> list[str]:
        """Return a row per run and key."""
        rows = [["run", "seeds", "key", "first epoch", "last epoch", "lowest mean", "highest mean"]]
        for name, run in result["runs"].items():
            for key, found in run["curves"].items():
                if not found["epochs"]:
                    continue
                ends = [_mean_sd(found, place) for place in (0, -1)]
                extremes = []
                for pick in (min, max):
                    value = pick(found["mean"])
                    extremes.append(f"{value:.4g} (epoch {found['epochs'][found['mean'].index(value)]})")
                rows.append([name, str(len(run["folders"])), key, *ends, *extremes])
        return text_table(rows, left=(0, 2))

    def draw(self, result: Mapping[str, Any], study: Study) -> Any:
        """Return a panel per key, with a line per run and a band of one standard deviation."""
        keys, runs = result["keys"], result["runs"]
        columns = min(len(keys), 2)
        rows = -(-len(keys) // columns)
        figure = new_figure(8.0, 1.5 + 2.9 * rows)
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        shade = colours(list(runs))
        for axes in grid[len(keys) :]:
            axes.set_axis_off()
        for axes, key in zip(grid, keys, strict=False):
            for name, run in runs.items():
                found = run["curves"][key]
                seeds = len(run["folders"])
                label = f"{name} ({seeds} seed{'s' if seeds > 1 else ''})"
                axes.plot(found["epochs"], found["mean"], color=shade[name], lw=1.6, label=label,
                          marker="o" if len(found["epochs"]) == 1 else None)  # fmt: skip
                if seeds > 1:
                    low, high = ([m + sign * s for m, s in zip(found["mean"], found["sd"], strict=True)]
                                 for sign in (-1, 1))  # fmt: skip
                    axes.fill_between(found["epochs"], low, high, color=shade[name], alpha=0.2, lw=0)
            unit = UNITS.get(key.rpartition(".")[2])
            axes.xaxis.get_major_locator().set_params(integer=True)
            frame(axes, "epoch", f"{key} ({unit})" if unit else key, grid="both")
        handles, labels = grid[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
        many = any(len(run["folders"]) > 1 for run in runs.values())
        text = "Metrics over the epochs" + ("; lines: mean, bands: +- 1 sd over seeds" if many else "")
        add_title(figure, result, text, about=f"runs: {', '.join(runs)}")
        return figure


def run_folders(path: Path) -> list[Path]:
    """Return the run folders that a path stands for: itself, its folder or those of its seeds.

    Raises:
        ConfigError: if there is none.
    """
    folder = path.parent if path.is_file() else path
    found = [folder] if (folder / METRICS).is_file() else sorted(file.parent for file in folder.glob(f"*/{METRICS}"))
    if not found:
        raise ConfigError(
            f"{path} holds no run: neither it nor a subfolder has {METRICS}; add --checkpoint NAME=FOLDER, such as "
            "runs/kd or runs/kd/seed0"
        )
    return found


def curve(runs: Sequence[Sequence[Mapping[str, float]]], key: str) -> dict[str, Any]:
    """Return epochs, mean, standard deviation and seeds of a key, at the epochs that all runs have.

    Example:
        >>> runs = [[{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0}], [{"epoch": 1, "loss": 4.0}]]
        >>> curve(runs, "loss")
        {'epochs': [1], 'mean': [3.0], 'sd': [1.4142135623730951], 'seeds': [[2.0], [4.0]]}
    """
    values = [{int(line["epoch"]): line[key] for line in run if key in line} for run in runs]
    epochs = sorted(set.intersection(*map(set, values)))
    at = [[run[epoch] for run in values] for epoch in epochs]
    return {
        "epochs": epochs,
        "mean": [mean(seeds) for seeds in at],
        "sd": [stdev(seeds) if len(seeds) > 1 else 0.0 for seeds in at],
        "seeds": [[run[epoch] for epoch in epochs] for run in values],
    }


def _lines(folder: Path) -> list[dict[str, float]]:
    try:
        text = (folder / METRICS).read_text(encoding="utf-8")
        return [dict(_flat(json.loads(line))) for line in text.splitlines() if line.strip()]
    except (ValueError, AttributeError) as error:
        raise ConfigError(f"{folder / METRICS} is damaged: {error}") from error


def _flat(value: Mapping[str, Any], start: str = "") -> Iterator[tuple[str, float]]:
    for key, inside in value.items():
        if isinstance(inside, Mapping):
            yield from _flat(inside, f"{start}{key}.")
        elif isinstance(inside, (int, float)):
            yield f"{start}{key}", inside


def _main_keys(known: Sequence[str]) -> list[str]:
    """Return the loss and the first score of each set of images."""
    scores = [next((key for key in known if key.startswith(f"{name}.")), None) for name in SETS]
    return [key for key in ("loss", *scores) if key is not None and key in known]


def _mean_sd(found: Mapping[str, Any], place: int) -> str:
    spread = f" +- {found['sd'][place]:.2g}" if len(found["seeds"]) > 1 else ""
    return f"{found['mean'][place]:.4g}{spread}"
