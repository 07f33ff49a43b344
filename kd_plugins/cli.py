"""The command line: train, fit, test, list, demo, bench."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

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
        if command is not _recipe:
            # Slow, as it imports torch; done already unless the console command started us.
            from .registry import register_all

            register_all()
        return command(arguments)
    except ValueError as error:
        if os.environ.get("KD_PLUGINS_TRACEBACK"):
            raise
        rank = os.environ.get("RANK", "0")
        print(f"kd-plugins: error: {error}" + (f" [process {rank}]" if rank != "0" else ""), file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        print("kd-plugins: interrupted; a training goes on with --resume, a fit when it is run again", file=sys.stderr)
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
    seeds = train.add_mutually_exclusive_group()
    seeds.add_argument("--seed", type=int, default=0, metavar="N", help="of every random generator (0)")
    seeds.add_argument(
        "--seeds", metavar="N,...", help="one run a seed, in seed<N> of the folder; goes on where it stopped"
    )
    train.add_argument("--amp", choices=("no", "bf16", "fp16"), default="no", help="mixed precision (no)")
    _common(train)

    fit = _command(commands, "fit", _fit, "compute the statistics of the teacher that a letKD config needs")
    fit.add_argument("config", metavar="CONFIG", help="YAML file with a LetKDLoss")
    fit.add_argument("--out", metavar="F", help="file to write (what the config names)")
    fit.add_argument("--seed", type=int, default=0, metavar="N", help="of everything random (0)")
    fit.add_argument("--memory-budget", default="2GiB", metavar="SIZE", help="memory for features (2GiB)")
    fit.add_argument(
        "--cache", choices=("auto", "memory", "disk", "off"), default="auto", help="features kept between passes (auto)"
    )
    fit.add_argument("--force", action="store_true", help="replace a file that is there")
    _common(fit)

    test = _command(commands, "test", _test, "measure a checkpoint, and the teacher, on the config's test set")
    test.add_argument("config", metavar="CONFIG", help="YAML file that the student was trained with")
    test.add_argument("--checkpoint", required=True, metavar="F", help="best.pt of a run, or a state dict")
    test.add_argument(
        "--compare-teacher", action="store_true", help="agreement, knowledge beyond the teacher's, likeness of layers"
    )
    test.add_argument("--plot", metavar="F", help="heat map of that likeness (<checkpoint>_cka.png beside it)")
    _common(test)

    check = _command(commands, "check", _check, "find what is wrong with a config, without training it")
    check.add_argument("config", metavar="CONFIG", help="YAML file")
    check.add_argument("--fake-data", action="store_true", help="noise for data and random weights: no download")
    check.add_argument("--images", type=int, metavar="N", help="how many to run at most (64, or 8 where large)")
    check.add_argument("--json", metavar="F", help="write the findings to a file too")
    _common(check)

    report = _command(commands, "report", _report, "one table over finished runs, trained alike")
    report.add_argument("runs", nargs="+", metavar="RUN", help="run folder, or a folder of one config's runs")
    report.add_argument("--json", metavar="F", help="write the rows to a file too")

    recipe = _command(commands, "recipe", _recipe, "print the config of a method, a pair of models and a data set")
    recipe.add_argument("method", metavar="METHOD", help="such as lskd, dkd_ls, sp_sfkd+kd; ce: no teacher")
    recipe.add_argument("--teacher", metavar="T", help="such as resnet32x4, vit_small; several for aekd: T,T,...")
    recipe.add_argument("--student", required=True, metavar="S", help="such as resnet8x4; timm:NAME is any timm model")
    recipe.add_argument(
        "--dataset", default="cifar100", metavar="D",
        help="cifar10, cifar100, imagenet, tiny-imagenet, cub200, digits, folder:PATH (cifar100)",
    )  # fmt: skip
    recipe.add_argument("--base", metavar="B", help="method that lskd or sfkd goes before (kd)")
    recipe.add_argument(
        "--with", dest="transforms", default="", metavar="T,...", help="before the loss: standardize,keep_salient=0.5"
    )
    recipe.add_argument("--out", metavar="F", help="file to write; without it the config is printed")
    recipe.add_argument("--force", action="store_true", help="replace the file if it exists")

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

    bench = _command(commands, "bench", _bench, "measure speed or memory here, as ratios within one run")
    bench.add_argument(
        "what", metavar="WHAT", help="losses, models, trainer; or a config, whose training step is measured"
    )
    bench.add_argument(
        "--rounds", type=int, metavar="N", help="repetitions (losses 100, models 20, trainer 7 epochs, a config 20)"
    )
    bench.add_argument("--device", choices=("auto", "cpu", "cuda"), default="cpu", help="where to run (cpu)")
    step = bench.add_argument_group("for a config")
    step.add_argument("--memory", action="store_true", help="measure the most memory that a step takes, not its time")
    step.add_argument("--against", metavar="CONFIG", help="another config, measured in turns with the first one")
    step.add_argument("--fake-data", action="store_true", help="noise for data and random weights: no download")
    step.add_argument("--amp", choices=("no", "bf16", "fp16"), default="no", help="mixed precision (no)")
    step.add_argument("--json", metavar="F", help="write the result to a file too")
    _overrides(step)
    return parser


def _command(commands: Any, name: str, run: Callable[..., int], summary: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
    parser.set_defaults(command=run)
    return parser


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where to run (auto)")
    _overrides(parser)


def _overrides(parser: Any) -> None:
    parser.add_argument(
        "--set", dest="overrides", action="extend", nargs="+", default=[], metavar="KEY=VALUE",
        help="replace a part of the config, such as train.num_epochs=3",
    )  # fmt: skip


def _is_main() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _train(arguments: argparse.Namespace) -> int:
    if arguments.seeds is not None:
        return _train_seeds(arguments)
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


def _train_seeds(arguments: argparse.Namespace) -> int:
    from .engine.runs_table import markdown
    from .engine.seeds import train_seeds

    rows = train_seeds(
        arguments.config,
        _numbers("--seeds", arguments.seeds),
        run_dir=arguments.run_dir,
        device=arguments.device,
        amp=arguments.amp,
        overrides=arguments.overrides,
        verbose=True,
        note=lambda text: print(text, file=sys.stderr),
    )
    if _is_main():
        print(markdown(rows), end="")
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from .check import check_config
    from .engine.checkpoint import write_atomically

    report = check_config(
        arguments.config,
        fake_data=arguments.fake_data,
        device=arguments.device,
        images=arguments.images,
        overrides=arguments.overrides,
    )
    if arguments.json is not None:
        write_atomically(Path(arguments.json), lambda path: path.write_text(report.json(), encoding="utf-8"))
    print(report.text())
    return int(report.failed)


def _report(arguments: argparse.Namespace) -> int:
    from .engine.checkpoint import write_atomically
    from .engine.runs_table import as_json, finished_runs, markdown, tabulate

    rows = tabulate(finished_runs(arguments.runs))
    if arguments.json is not None:
        write_atomically(Path(arguments.json), lambda path: path.write_text(as_json(rows), encoding="utf-8"))
    print(markdown(rows), end="")
    return 0


def _fit(arguments: argparse.Namespace) -> int:
    from .engine.fit import fit

    lines = fit(
        arguments.config,
        out=arguments.out,
        seed=arguments.seed,
        device=arguments.device,
        memory_budget=arguments.memory_budget,
        cache=arguments.cache,
        force=arguments.force,
        overrides=arguments.overrides,
        verbose=True,
    )
    if _is_main():
        print("\n".join(lines))
    return 0


def _test(arguments: argparse.Namespace) -> int:
    from .engine.measure import measure
    from .engine.report import accuracy

    if arguments.plot and not arguments.compare_teacher:
        raise ValueError("--plot is the heat map of --compare-teacher: add that")
    result = measure(
        arguments.config,
        arguments.checkpoint,
        device=arguments.device,
        overrides=arguments.overrides,
        compare_teacher=arguments.compare_teacher,
    )
    if _is_main():
        for name in ("student", "teacher"):
            if result[name] is not None:
                print(f"{name}: {accuracy(result[name])}")
    if result["comparison"] is not None:
        from .engine.compare import comparison_report, save_heat_map

        checkpoint = Path(arguments.checkpoint)
        plot = Path(arguments.plot or checkpoint.with_name(f"{checkpoint.stem}_cka.png"))
        save_heat_map(result["comparison"], plot)
        print(f"\n{comparison_report(result['comparison'])}\nheat map of all layers: {plot}")
    return 0


def _recipe(arguments: argparse.Namespace) -> int:
    from .recipes import Request
    from .recipes.command import run_recipe

    request = Request(
        arguments.method,
        arguments.teacher,
        arguments.student,
        arguments.dataset,
        base=arguments.base,
        transforms=arguments.transforms,
    )
    run_recipe(request, out=arguments.out, force=arguments.force)
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
    from .bench.command import run_bench

    run_bench(arguments)
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
