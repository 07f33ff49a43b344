"""What ``kd-plugins bench`` does with its arguments."""

from __future__ import annotations

import argparse
from typing import Any

from .._checks import check_at_least
from ..runtime.distributed import pick_device
from .config import bench_config, check_is_config, check_json_path, write_json

FIXED = ("losses", "models", "trainer", "letkd", "letkd-fit")
"""What can be measured without a config."""

CONFIG_OPTIONS = {
    "memory": "--memory", "against": "--against", "fake_data": "--fake-data", "json": "--json", "overrides": "--set",
}  # fmt: skip


def run_bench(arguments: argparse.Namespace) -> None:
    """Measure what the command line asks for and print it.

    Args:
        arguments: ``what``, ``rounds``, ``device``, ``amp`` and those of ``CONFIG_OPTIONS``.

    Raises:
        ValueError: on an unknown word, an option that does not go with it, or a mistake in a config.
    """
    if arguments.what in FIXED:
        _bench_fixed(arguments)
    else:
        _bench_config(arguments)


def _bench_fixed(arguments: argparse.Namespace) -> None:
    given = [option for name, option in CONFIG_OPTIONS.items() if getattr(arguments, name)]
    given += ["--amp"] if arguments.amp != "no" else []
    if given:
        raise ValueError(f"{given[0]} goes with a config file, bench {arguments.what} takes none")
    device = str(pick_device(arguments.device))
    rounds: dict[str, Any] = {}
    if arguments.rounds is not None:
        check_at_least("--rounds", arguments.rounds, 1)
        rounds = {"rounds": arguments.rounds}
    if arguments.what == "losses":
        from .losses import format_rows, run_losses

        print(format_rows(run_losses(device=device, **rounds)))
    elif arguments.what == "models":
        from .models import format_rows as format_models
        from .models import run_models

        print(format_models(run_models(device=device, **rounds)))
    elif arguments.what == "letkd":
        from .letkd import format_letkd, run_letkd

        print(format_letkd(run_letkd(device=device, **rounds)))
    elif arguments.what == "letkd-fit":
        from .letkd_fit import format_letkd_fit, run_letkd_fit

        if rounds:
            raise ValueError("--rounds does not go with bench letkd-fit, which takes minutes and is done once")
        print(format_letkd_fit(run_letkd_fit()))
    else:
        from .trainer import format_trainer, run_trainer

        print(format_trainer(run_trainer(device=device, **rounds)))


def _bench_config(arguments: argparse.Namespace) -> None:
    check_is_config(arguments.what, FIXED)
    file = check_json_path(arguments.json) if arguments.json else None
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
        write_json(result, file)
    print(result.text())
