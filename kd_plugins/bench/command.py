"""The command ``kd-plugins bench``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .._checks import check_at_least, suggestion
from .._errors import ConfigError
from ..runtime.checkpoint import write_text
from ..runtime.distributed import pick_device
from .config import bench_config
from .letkd import run_letkd
from .letkd_fit import format_letkd_fit, run_letkd_fit
from .losses import format_rows, run_losses
from .models import format_rows as format_models
from .models import run_models
from .synthesis import format_synthesis, run_synthesis
from .trainer import format_trainer, run_trainer

FIXED: dict[str, tuple[Callable[..., Any], Callable[[Any], str]]] = {
    "losses": (run_losses, format_rows),
    "models": (run_models, format_models),
    "trainer": (run_trainer, format_trainer),
    "letkd": (run_letkd, format_letkd_fit),
    "letkd-fit": (run_letkd_fit, format_letkd_fit),
    "synthesis": (run_synthesis, format_synthesis),
}
"""Benchmarks without a config: what measures, and what formats the result."""

CONFIG_OPTIONS = {
    "memory": "--memory", "against": "--against", "fake_data": "--fake-data", "json": "--json", "overrides": "--set",
}  # fmt: skip


def run_bench(arguments: argparse.Namespace) -> None:
    """Run a benchmark and print its result.

    Raises:
        ValueError: on an unknown word, an option that does not go with it, or a mistake in a config.
    """
    if arguments.rounds is not None:
        check_at_least("--rounds", arguments.rounds, 1)
    if arguments.channels_last and arguments.what != "trainer":
        raise ValueError(f"--channels-last goes with bench trainer, found bench {arguments.what}; leave it out")
    if arguments.what in FIXED:
        _bench_fixed(arguments)
    else:
        _bench_config(arguments)


def _bench_fixed(arguments: argparse.Namespace) -> None:
    given = [option for name, option in CONFIG_OPTIONS.items() if getattr(arguments, name)]
    options: dict[str, Any] = {} if arguments.rounds is None else {"rounds": arguments.rounds}
    if arguments.what == "trainer":
        options |= {"amp": arguments.amp, "channels_last": arguments.channels_last}
    elif arguments.amp != "no":
        raise ValueError(f"--amp goes with bench trainer and with a config file, bench {arguments.what} takes none")
    if given:
        raise ValueError(f"{given[0]} goes with a config file, bench {arguments.what} takes none")
    if arguments.what != "letkd-fit":
        options["device"] = str(pick_device(arguments.device))
    elif options:
        raise ValueError("--rounds does not go with bench letkd-fit, which takes minutes and is done once")
    run, formatted = FIXED[arguments.what]
    print(formatted(run(**options)))


def _bench_config(arguments: argparse.Namespace) -> None:
    what = Path(arguments.what)
    if not (what.is_file() or what.suffix in (".yaml", ".yml") or what.name != arguments.what):
        known = [*FIXED, *map(str, Path().glob("*.y*ml"))]
        raise ValueError(
            f"bench measures {', '.join(FIXED)} or a config file, and {arguments.what!r} is none of them; "
            f"{suggestion(arguments.what, known)}"
        )
    file = None if arguments.json is None else Path(arguments.json)
    if file is not None and (file.is_dir() or not file.parent.is_dir()):
        raise ConfigError(f"--json wants a file in a folder that exists, found {file}")
    result = bench_config(
        arguments.what,
        against=arguments.against or (),
        memory=arguments.memory,
        fake_data=arguments.fake_data,
        rounds=arguments.rounds,
        device=arguments.device,
        amp=arguments.amp,
        overrides=arguments.overrides,
    )
    if file is not None:
        write_text(file, result.json())
    print(result.text())
