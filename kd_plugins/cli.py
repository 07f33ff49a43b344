"""The command line: train, test, list, demo, bench."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from ._checks import check_at_least
from ._version import __version__

USER_ERROR, INTERRUPTED = 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; a user's mistake prints one message and returns 2.

    Args:
        argv: the arguments; those of the process by default.

    Example:
        >>> main(["list", "transforms"])
        transforms
          standardize     Z-score of every sample's logits  [LSKD, Sun et al., CVPR 2024]
        ...
        0
    """
    arguments = _parser().parse_args(argv)
    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        return command(arguments)
    except ValueError as error:
        if os.environ.get("KD_PLUGINS_TRACEBACK"):
            raise
        rank = os.environ.get("RANK", "0")
        print(f"kd-plugins: error: {error}" + (f" [process {rank}]" if rank != "0" else ""), file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        print("kd-plugins: interrupted; a training goes on with --resume", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has left, as `| head` does.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kd-plugins",
        description="Knowledge distillation on torchdistill's configs.",
        epilog="KD_PLUGINS_TRACEBACK=1 in the environment shows where an error comes from.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    train = _command(commands, "train", _train, "train what a torchdistill config describes")
    train.add_argument("config", metavar="CONFIG", help="YAML file")
    train.add_argument("--run-dir", metavar="D", help="folder for everything written (runs/<config>/seed<N>)")
    train.add_argument("--resume", action="store_true", help="go on from the last checkpoint in the folder")
    train.add_argument("--seed", type=int, default=0, metavar="N", help="of every random generator (0)")
    train.add_argument("--amp", choices=("no", "bf16", "fp16"), default="no", help="mixed precision (no)")
    _common(train)

    test = _command(commands, "test", _test, "measure a checkpoint, and the teacher, on the config's test set")
    test.add_argument("config", metavar="CONFIG", help="YAML file that the student was trained with")
    test.add_argument("--checkpoint", required=True, metavar="F", help="best.pt of a run, or a state dict")
    _common(test)

    listing = _command(commands, "list", _list, "list what configs can name")
    listing.add_argument("kinds", nargs="*", metavar="KIND", help="losses, models, ... (all)")

    demo = _command(commands, "demo", _demo, "distil a ViT into a small CNN on real digits and print a table")
    demo.add_argument("--run-dir", default="runs/demo", metavar="D", help="folder of the demo's runs (runs/demo)")
    demo.add_argument(
        "--methods", default="kd,lskd,ckd", metavar="M,...", help="of kd,lskd,ckd,dkd,ctkd,mlkd,dist,sfkd (kd,lskd,ckd)"
    )
    demo.add_argument(
        "--transforms", default="none", metavar="T,...", help="before each: none,standardize,keep_salient (none)"
    )
    demo.add_argument("--seeds", default="0,1,2", metavar="N,...", help="seeds (0,1,2)")
    demo.add_argument("--device", choices=("auto", "cpu", "cuda"), default="cpu", help="where to run (cpu)")

    bench = _command(commands, "bench", _bench, "measure speed here, as ratios within one run")
    bench.add_argument("what", choices=("losses", "models", "trainer"), help="what to measure")
    bench.add_argument("--rounds", type=int, metavar="N", help="repetitions (losses 100, models 20, trainer 7 epochs)")
    bench.add_argument("--device", choices=("auto", "cpu", "cuda"), default="cpu", help="where to run (cpu)")
    return parser


def _command(commands: Any, name: str, run: Callable[..., int], summary: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
    parser.set_defaults(command=run)
    return parser


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where to run (auto)")
    parser.add_argument(
        "--set", dest="overrides", action="extend", nargs="+", default=[], metavar="KEY=VALUE",
        help="replace a part of the config, such as train.num_epochs=3",
    )  # fmt: skip


def _is_main() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _train(arguments: argparse.Namespace) -> int:
    from .engine.report import training_report
    from .engine.train import train

    summary = train(
        arguments.config,
        run_dir=arguments.run_dir,
        resume=arguments.resume,
        seed=arguments.seed,
        device=arguments.device,
        amp=arguments.amp,
        overrides=arguments.overrides,
        verbose=True,
    )
    if _is_main():
        print(training_report(summary))
    return 0


def _test(arguments: argparse.Namespace) -> int:
    from .engine.measure import measure
    from .engine.report import accuracy

    result = measure(arguments.config, arguments.checkpoint, device=arguments.device, overrides=arguments.overrides)
    if _is_main():
        for name in ("student", "teacher"):
            if result[name] is not None:
                print(f"{name}: {accuracy(result[name])}")
    return 0


def _list(arguments: argparse.Namespace) -> int:
    from ._checks import unknown_name
    from .models.catalogue import model_note
    from .registry import ENTRIES, KINDS, transform_entries

    entries = [*ENTRIES, *transform_entries()]
    known = [*KINDS, "transforms"]
    for kind in arguments.kinds:
        if kind not in known:
            raise unknown_name("kind", kind, known)
    for kind in arguments.kinds or known:
        rows = [entry for entry in entries if entry.kind == kind]
        width = max(len(row.key) for row in rows)
        print(kind)
        for row in rows:
            note = row.paper or (model_note(row.key) if kind == "models" else "")
            print(f"  {row.key:<{width}}  {row.summary}" + (f"  [{note}]" if note else ""))
    return 0


def _demo(arguments: argparse.Namespace) -> int:
    from .demo import run_demo

    run_demo(
        arguments.run_dir,
        methods=_names(arguments.methods),
        transforms=_names(arguments.transforms),
        seeds=_numbers("--seeds", arguments.seeds),
        device=arguments.device,
    )
    return 0


def _bench(arguments: argparse.Namespace) -> int:
    from .engine.distributed import pick_device

    device = str(pick_device(arguments.device))
    rounds: dict[str, Any] = {}
    if arguments.rounds is not None:
        check_at_least("--rounds", arguments.rounds, 1)
        rounds = {"rounds": arguments.rounds}
    if arguments.what == "losses":
        from .bench.losses import format_rows, run_losses

        print(format_rows(run_losses(device=device, **rounds)))
    elif arguments.what == "models":
        from .bench.models import format_rows as format_models
        from .bench.models import run_models

        print(format_models(run_models(device=device, **rounds)))
    else:
        from .bench.trainer import format_trainer, run_trainer

        print(format_trainer(run_trainer(device=device, **rounds)))
    return 0


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _numbers(option: str, text: str) -> list[int]:
    try:
        numbers = [int(name) for name in _names(text)]
    except ValueError:
        numbers = []
    if not numbers or len(set(numbers)) != len(numbers):
        raise ValueError(f"{option} wants different whole numbers such as 0,1,2, found {text!r}")
    return numbers
