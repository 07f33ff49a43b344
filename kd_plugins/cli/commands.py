"""The commands: each calls a function of the package and prints its result."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from .lists import floats, names, numbers


def _is_main() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _given(arguments: argparse.Namespace, *options: str) -> dict[str, Any]:
    return {name: getattr(arguments, name) for name in options}


def _safe_packages(arguments: argparse.Namespace) -> list[str] | None:
    if arguments.allow and not arguments.safe:
        raise ValueError("--allow has no effect without --safe: add --safe")
    return arguments.allow if arguments.safe else None


def _write(path: str | None, text: Callable[[], str]) -> None:
    """Write a text to the file of an option, if it is given."""
    from ..runtime.checkpoint import write_text

    if path is not None:
        write_text(Path(path), text())


def train(arguments: argparse.Namespace) -> int:
    """Train a config with one seed or several."""
    from ..check import before_training

    common = _given(
        arguments, "run_dir", "device", "amp", "accept_changes", "overrides", "test_every", "keep_every",
        "tensorboard", "channels_last", "compile",
    )  # fmt: skip
    common |= {"look_at": partial(before_training, quiet=not _is_main()), "verbose": True}
    common["safe_packages"] = _safe_packages(arguments)
    if arguments.seeds is not None:
        if arguments.best_to is not None:
            raise ValueError("--best-to takes one model, but --seeds trains several: use --seed")
        from ..reports.formats import markdown
        from ..reports.seeds import train_seeds

        seeds = numbers("--seeds", arguments.seeds)
        text = markdown(train_seeds(arguments.config, seeds, note=lambda text: print(text, file=sys.stderr), **common))
    else:
        from ..training.report import training_report
        from ..training.train import train as train_config

        one = _given(arguments, "resume", "seed", "best_to", "force")
        text = training_report(train_config(arguments.config, **one, **common)) + "\n"
    if _is_main():
        print(text, end="")
    return 0


def check(arguments: argparse.Namespace) -> int:
    """Check a config; return 1 if it has errors."""
    from ..check import check_config

    given = _given(arguments, "fake_data", "device", "images", "overrides")
    found = check_config(arguments.config, safe_packages=_safe_packages(arguments), **given)
    _write(arguments.json, found.json)
    print(found.text())
    return int(found.failed)


def report(arguments: argparse.Namespace) -> int:
    """Print one table over finished runs, or write it to files."""
    from ..reports.formats import FORMATS, as_json
    from ..reports.plot import save_plot
    from ..reports.runs import finished_runs
    from ..reports.runs_table import tabulate
    from ..runtime.checkpoint import write_atomically

    rows = tabulate(finished_runs(arguments.runs), baseline=arguments.baseline)
    text = FORMATS[arguments.format](rows)
    _write(arguments.json, partial(as_json, rows))
    _write(arguments.out, lambda: text)
    if arguments.plot is not None:
        write_atomically(Path(arguments.plot), lambda path: save_plot(rows, path))
    if arguments.out is None:
        print(text, end="")
    return 0


def sweep(arguments: argparse.Namespace) -> int:
    """Search settings of a config."""
    from ..check import before_training
    from ..sweep import run_sweep
    from ..sweep.space import parse_grid, parse_range
    from ..sweep.study import GRID, RANDOM, TPE
    from ..sweep.table import sweep_table

    sampler = RANDOM if arguments.random is not None else TPE if arguments.tpe is not None else GRID
    axes = [*map(parse_grid, arguments.grid), *map(parse_range, arguments.ranges)]
    result = run_sweep(
        arguments.config,
        axes,
        seeds=numbers("--seeds", arguments.seeds),
        sampler=sampler,
        trials=arguments.random if sampler == RANDOM else arguments.tpe or 0,
        **_given(arguments, "run_dir", "device", "amp"),
        set_values=arguments.overrides,
        safe_packages=_safe_packages(arguments),
        look_at=partial(before_training, quiet=True),
        note=lambda text: print(text, file=sys.stderr),
    )
    if result:
        print(sweep_table(result), end="")
    return 0


def fit(arguments: argparse.Namespace) -> int:
    """Compute the statistics that a letKD config needs."""
    from ..fitting.fit import fit as fit_config

    given = _given(arguments, "out", "seed", "device", "memory_budget", "cache", "force", "overrides")
    lines = fit_config(arguments.config, verbose=True, **given)
    if _is_main():
        print("\n".join(lines))
    return 0


def test(arguments: argparse.Namespace) -> int:
    """Measure a checkpoint and its teacher."""
    from ..analysis.measure import check_plot, measure, save_pictures
    from ..training.report import accuracy

    shown = _given(arguments, "compare_teacher", "show_subclasses")
    check_plot(arguments.plot, **shown)
    result = measure(arguments.config, arguments.checkpoint, **shown, **_given(arguments, "device", "overrides"))
    if _is_main():
        for name in ("student", "teacher"):
            if result[name] is not None:
                print(f"{name}: {accuracy(result[name])}")
    for text in save_pictures(result, arguments.checkpoint, arguments.plot):
        print(f"\n{text}")
    return 0


def analyze(arguments: argparse.Namespace) -> int:
    """Analyse trained models."""
    from ..analysis.analyze import analyze as run

    separate = [""]

    def show(finished: Any) -> None:
        print(separate[0] + finished.text())
        separate[0] = "\n"

    run(
        arguments.config,
        names(arguments.what),
        **_given(arguments, "checkpoints", "out", "images", "seed", "device", "overrides"),
        plot=not arguments.no_plot,
        options=_given(arguments, *(name for name in arguments.single if hasattr(arguments, name))),
        note=show,
    )
    return 0


def recipe(arguments: argparse.Namespace) -> int:
    """Print a config or write it to a file, without importing torch."""
    from ..recipes import Request
    from ..recipes.command import run_recipe

    request = Request(
        arguments.method,
        arguments.teacher,
        arguments.student,
        arguments.dataset,
        options=tuple(arguments.options),
        mean=floats("--mean", arguments.mean),
        std=floats("--std", arguments.std),
        **_given(arguments, *RECIPE_OPTIONS),
    )
    run_recipe(request, out=arguments.out, force=arguments.force)
    return 0


RECIPE_OPTIONS = (
    "base", "transforms", "schedule", "real", "epochs", "batch", "lr", "size", "augment", "train_images", "val_share",
    "split_seed",
)  # fmt: skip


def list_names(arguments: argparse.Namespace) -> int:
    """List what configs can name, without importing torch."""
    from .._names import unknown_name
    from ..entries import ENTRIES

    known = list(dict.fromkeys(entry.kind for entry in ENTRIES))
    for kind in arguments.kinds:
        if kind not in known:
            raise unknown_name("kind", kind, known)
    for kind in arguments.kinds or known:
        rows = [entry for entry in ENTRIES if entry.kind == kind]
        width = max(len(row.key) for row in rows)
        print(kind)
        for row in rows:
            print(f"  {row.key:<{width}}  {row.summary}" + (f"  [{row.note}]" if row.note else ""))
    return 0


def bench(arguments: argparse.Namespace) -> int:
    """Measure speed or memory."""
    from ..bench.command import run_bench

    run_bench(arguments)
    return 0
