"""The command ``kd-plugins synthesize``."""

from __future__ import annotations

import argparse
import re

OPTIONS = "ce, bn, first_bn, tv, l2, competition, jitter, flip, grey, lr, betas"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("config", metavar="CONFIG", help="YAML file with a teacher_model")
    parser.add_argument("--out", default="synthetic", metavar="DIR", help="folder of the shards (synthetic)")
    parser.add_argument("--images", type=int, default=50_000, metavar="N", help="number of images (50000)")
    parser.add_argument("--batch", type=int, default=256, metavar="N", help="images of a shard (256)")
    parser.add_argument("--steps", type=int, metavar="N", help="steps of the optimisation; 0 keeps noise (2000)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of all shards (0)")
    parser.add_argument(
        "--option", action="append", default=[], dest="options", metavar="KEY=VALUE",
        help=f"change a setting: {OPTIONS}; bn=0 gives DeepDream images",
    )  # fmt: skip
    parser.add_argument(
        "--size", type=int, metavar="N", help="height and width of the images; the config's images are then not needed"
    )
    parser.add_argument(
        "--student", metavar="F", help="checkpoint of the config's student, for --option competition=10"
    )
    parser.add_argument(
        "--shards", metavar="A:B", help="make shards A to B-1 only; other processes may make the others (all)"
    )
    parser.epilog = "Repeat an interrupted call to continue it: shards that exist are kept."


def synthesize(arguments: argparse.Namespace) -> int:
    """Make synthetic images."""
    from ..synthesis.options import parse_options
    from ..synthesis.synthesize import synthesize as run

    given = ("out", "images", "batch", "seed", "size", "student", "device", "overrides")
    found = run(
        arguments.config,
        options=parse_options(arguments.options, {} if arguments.steps is None else {"steps": arguments.steps}),
        shards=None if arguments.shards is None else _span(arguments.shards),
        note=lambda text: print(text, flush=True),
        **{name: getattr(arguments, name) for name in given},
    )
    print(found.text())
    return 0


def _span(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+):(\d+)", text)
    if found is None:
        raise ValueError(f"--shards must be A:B such as 0:50, found {text!r}")
    return int(found[1]), int(found[2])
