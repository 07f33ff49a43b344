"""The words that the command line takes."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from .._version import __version__
from . import commands


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; what it parses holds the function of the command as ``command``."""
    parser = argparse.ArgumentParser(
        prog="kd-plugins",
        description="Knowledge distillation on torchdistill's configs.",
        epilog="KD_PLUGINS_TRACEBACK=1 in the environment shows where an error comes from.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    group = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    train = _command(group, "train", commands.train, "train what a torchdistill config describes")
    train.add_argument("config", metavar="CONFIG", help="YAML file")
    train.add_argument("--run-dir", metavar="D", help="folder for everything written (runs/<config>/seed<N>)")
    train.add_argument("--resume", action="store_true", help="go on from the last checkpoint in the folder")
    train.add_argument(
        "--accept-changes", action="store_true", help="resume with other threads, device or versions than before"
    )
    seeds = train.add_mutually_exclusive_group()
    seeds.add_argument("--seed", type=int, default=0, metavar="N", help="of every random generator (0)")
    seeds.add_argument(
        "--seeds", metavar="N,...", help="one run a seed, in seed<N> of the folder; goes on where it stopped"
    )
    train.add_argument("--best-to", metavar="F", help="file for the best weights too, for src_ckpt of other configs")
    train.add_argument("--force", action="store_true", help="replace the file of --best-to if it exists")
    _safety(train)
    train.add_argument("--amp", choices=("no", "bf16", "fp16"), default="no", help="mixed precision (no)")
    _common(train)

    fit = _command(group, "fit", commands.fit, "compute the statistics of the teacher that a letKD config needs")
    fit.add_argument("config", metavar="CONFIG", help="YAML file with a LetKDLoss")
    fit.add_argument("--out", metavar="F", help="file to write (what the config names)")
    fit.add_argument("--seed", type=int, default=0, metavar="N", help="of everything random (0)")
    fit.add_argument("--memory-budget", default="2GiB", metavar="SIZE", help="memory for features (2GiB)")
    fit.add_argument(
        "--cache", choices=("auto", "memory", "disk", "off"), default="auto", help="features kept between passes (auto)"
    )
    fit.add_argument("--force", action="store_true", help="replace a file that is there")
    _common(fit)

    test = _command(group, "test", commands.test, "measure a checkpoint, and the teacher, on the config's test set")
    test.add_argument("config", metavar="CONFIG", help="YAML file that the student was trained with")
    test.add_argument("--checkpoint", required=True, metavar="F", help="best.pt of a run, or a state dict")
    test.add_argument(
        "--compare-teacher", action="store_true", help="agreement, knowledge beyond the teacher's, likeness of layers"
    )
    test.add_argument(
        "--show-subclasses", action="store_true", help="letKD: what the teacher's statistics see in some test images"
    )
    test.add_argument("--plot", metavar="F", help="picture of either (<checkpoint>_cka.png or _subclasses.png beside)")
    _common(test)

    check = _command(group, "check", commands.check, "find what is wrong with a config, without training it")
    check.add_argument("config", metavar="CONFIG", help="YAML file")
    check.add_argument("--fake-data", action="store_true", help="noise for data and random weights: no download")
    check.add_argument("--images", type=int, metavar="N", help="how many to run at most (64, or 8 where large)")
    check.epilog = (
        "A config is code: its tags run any function that they name, in a check too. For a stranger's, add --safe."
    )
    _safety(check)
    check.add_argument("--json", metavar="F", help="write the findings to a file too")
    _common(check)

    report = _command(group, "report", commands.report, "one table over finished runs, trained alike")
    report.add_argument("runs", nargs="+", metavar="RUN", help="run folder, or a folder of one config's runs")
    report.add_argument("--json", metavar="F", help="write the rows to a file too")

    recipe = _command(group, "recipe", commands.recipe, "print the config of a method, a pair of models and a data set")
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
    recipe.add_argument(
        "--option", action="append", default=[], dest="options", metavar="KEY=VALUE",
        help="a setting other than the table's, such as keep=0.3 or 'cuts=[3,6,9]'; in a sum METHOD.KEY=VALUE",
    )  # fmt: skip
    recipe.add_argument(
        "--schedule", metavar="NAME", help="another schedule than the method's, such as cifar_step, heterogeneous_cnn"
    )
    recipe.add_argument("--out", metavar="F", help="file to write; without it the config is printed")
    recipe.add_argument("--force", action="store_true", help="replace the file if it exists")

    listing = _command(group, "list", commands.list_names, "list what configs can name")
    listing.add_argument("kinds", nargs="*", metavar="KIND", help="losses, models, ... (all)")

    demo = _command(group, "demo", commands.demo, "distil a ViT into a small CNN on real digits and print a table")
    demo.add_argument("--run-dir", default="runs/demo", metavar="D", help="folder of the demo's runs (runs/demo)")
    demo.add_argument(
        "--methods", default="kd,lskd,ckd", metavar="M,...",
        help="of kd,lskd,ckd,dkd,ctkd,mlkd,dist,sfkd,lakd,letkd1,letkd2 (kd,lskd,ckd)",
    )  # fmt: skip
    demo.add_argument(
        "--transforms", default="none", metavar="T,...", help="before each: none,standardize,keep_salient (none)"
    )
    demo.add_argument("--seeds", default="0,1,2", metavar="N,...", help="seeds (0,1,2)")
    demo.add_argument("--device", choices=("auto", "cpu", "cuda"), default="cpu", help="where to run (cpu)")

    bench = _command(group, "bench", commands.bench, "measure speed or memory here, as ratios within one run")
    bench.add_argument(
        "what",
        metavar="WHAT",
        help="losses, models, trainer, letkd, letkd-fit; or a config, whose training step is measured",
    )
    bench.add_argument(
        "--rounds",
        type=int,
        metavar="N",
        help="repetitions (losses 400 at most, models 20, trainer 7 epochs, letkd 10, a config 20)",
    )
    bench.add_argument("--device", choices=("auto", "cpu", "cuda"), default="cpu", help="where to run (cpu)")
    step = bench.add_argument_group("for a config")
    step.add_argument("--memory", action="store_true", help="measure the most memory that a step takes, not its time")
    step.add_argument(
        "--against", nargs="+", metavar="CONFIG", help="other configs, measured in turns with the first one"
    )
    step.add_argument("--fake-data", action="store_true", help="noise for data and random weights: no download")
    step.add_argument("--amp", choices=("no", "bf16", "fp16"), default="no", help="mixed precision (no)")
    step.add_argument("--json", metavar="F", help="write the result to a file too")
    _overrides(step)
    return parser


def _command(group: Any, name: str, run: Callable[..., int], summary: str) -> argparse.ArgumentParser:
    parser = group.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
    parser.set_defaults(command=run)
    return parser


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where to run (auto)")
    _overrides(parser)


def _safety(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--safe", action="store_true",
        help="refuse a config that runs code of other packages than torch, torchvision, timm, torchdistill, kd_plugins",
    )  # fmt: skip
    parser.add_argument(
        "--allow", action="append", default=[], metavar="PACKAGE", help="with --safe: trust this package too"
    )


def _overrides(parser: Any) -> None:
    parser.add_argument(
        "--set", dest="overrides", action="extend", nargs="+", default=[], metavar="KEY=VALUE",
        help="replace a part of the config, such as train.num_epochs=3",
    )  # fmt: skip
