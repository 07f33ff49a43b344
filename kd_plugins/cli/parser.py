"""The command-line parser."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from .._version import __version__
from . import commands
from .analyze_parser import add_options
from .demo import add_options as add_demo_options
from .demo import demo
from .synthesize import add_options as add_synthesis_options
from .synthesize import synthesize


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; parsed arguments have the command's function as ``command``."""
    parser = argparse.ArgumentParser(
        prog="kd-plugins",
        description="Knowledge distillation on torchdistill's configs.",
        epilog="Set KD_PLUGINS_TRACEBACK=1 in the environment to see the traceback of an error.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    group = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    train = _command(group, "train", commands.train, "train a torchdistill config")
    train.add_argument("config", metavar="CONFIG", help="YAML file")
    train.add_argument("--run-dir", metavar="D", help="output folder (runs/<config>/seed<N>)")
    train.add_argument("--resume", action="store_true", help="continue from the last checkpoint in the folder")
    train.add_argument(
        "--accept-changes", action="store_true", help="resume although threads, device or versions have changed"
    )
    seeds = train.add_mutually_exclusive_group()
    seeds.add_argument("--seed", type=int, default=0, metavar="N", help="seed of all random generators (0)")
    seeds.add_argument(
        "--seeds", metavar="N,...", help="one run per seed, in seed<N> of the folder; continues an interrupted call"
    )
    train.add_argument(
        "--best-to", metavar="F", help="also write the best weights to this file, for src_ckpt of other configs"
    )
    train.add_argument("--force", action="store_true", help="replace the file of --best-to if it exists")
    train.add_argument(
        "--test-every", type=int, default=0, metavar="N",
        help="also test the student every N epochs, into metrics.jsonl (never)",
    )  # fmt: skip
    train.add_argument(
        "--keep-every", type=int, default=0, metavar="N", help="keep the weights every N epochs as epoch-<N>.pt (never)"
    )
    train.add_argument(
        "--tensorboard", action="store_true", help="also write losses, learning rate and scores for TensorBoard"
    )
    _safety(train)
    train.add_argument("--amp", choices=("no", "bf16", "fp16"), default="no", help="mixed precision (no)")
    train.add_argument(
        "--channels-last", action="store_true", help="store images and convolution weights as (N, H, W, C)"
    )
    train.add_argument("--compile", action="store_true", help="run student and teacher under torch.compile")
    _common(train)

    fit = _command(group, "fit", commands.fit, "compute the teacher statistics for a letKD config")
    fit.add_argument("config", metavar="CONFIG", help="YAML file with a LetKDLoss")
    fit.add_argument("--out", metavar="F", help="output file (the one in the config)")
    fit.add_argument("--seed", type=int, default=0, metavar="N", help="seed of all random generators (0)")
    fit.add_argument("--memory-budget", default="2GiB", metavar="SIZE", help="memory for features (2GiB)")
    fit.add_argument(
        "--cache", choices=("auto", "memory", "disk", "off"), default="auto",
        help="where to keep features between passes (auto)",
    )  # fmt: skip
    fit.add_argument("--force", action="store_true", help="replace the file if it exists")
    _common(fit)

    test = _command(group, "test", commands.test, "evaluate a checkpoint and the teacher on the config's test set")
    test.add_argument("config", metavar="CONFIG", help="YAML file of the student's training")
    test.add_argument("--checkpoint", required=True, metavar="F", help="best.pt of a run, or a state dict")
    test.add_argument(
        "--compare-teacher", action="store_true",
        help="agreement, extracurricular knowledge, and similarity of layers (CKA)",
    )  # fmt: skip
    test.add_argument(
        "--show-subclasses", action="store_true",
        help="letKD: show the sub-classes that the teacher assigns in some test images",
    )  # fmt: skip
    test.add_argument(
        "--plot",
        metavar="F",
        help="file for the picture of either (beside the checkpoint: *_cka.png, *_subclasses.png)",
    )
    _common(test)

    analyze = _command(group, "analyze", commands.analyze, "show what a student learned: logits, features, maps")
    add_options(analyze)
    _common(analyze)

    check = _command(group, "check", commands.check, "find mistakes in a config, without training it")
    check.add_argument("config", metavar="CONFIG", help="YAML file")
    check.add_argument("--fake-data", action="store_true", help="use random images and weights: no download")
    check.add_argument("--images", type=int, metavar="N", help="largest batch size (64, or 8 for large images)")
    check.epilog = "A config can run any code, even when it is only checked. Add --safe for untrusted configs."
    _safety(check)
    check.add_argument("--json", metavar="F", help="also write the findings to a file")
    _common(check)

    report = _command(group, "report", commands.report, "print one table of finished runs with equal schedules")
    report.add_argument("runs", nargs="+", metavar="RUN", help="run folder, or a folder of one config's runs")
    report.add_argument(
        "--baseline", metavar="NAME",
        help="config that the others are compared with (the only one without a teacher, else the first)",
    )  # fmt: skip
    report.add_argument("--format", choices=("md", "csv", "json"), default="md", help="format of the table (md)")
    report.add_argument("--out", metavar="F", help="write the table to a file; by default it is printed")
    report.add_argument("--json", metavar="F", help="also write the rows to a file")
    report.add_argument("--plot", metavar="F", help="also write a picture of all seeds and the means to a PNG file")

    sweep = _command(group, "sweep", commands.sweep, "search settings on the validation images, and test the pick once")
    sweep.add_argument("config", metavar="CONFIG", help="YAML file with val_data_loader and test_data_loader")
    sweep.add_argument(
        "--grid", action="append", default=[], metavar="KEY=V1,V2",
        help="values of a key, such as train.optimizer.kwargs.lr=0.01,0.1; several options make a grid",
    )  # fmt: skip
    sweep.add_argument(
        "--range", action="append", default=[], dest="ranges", metavar="KEY=LOW:HIGH[:log]",
        help="range of a key, with --random or --tpe",
    )  # fmt: skip
    how = sweep.add_mutually_exclusive_group()
    how.add_argument("--random", type=int, metavar="N", help="try N points drawn at random instead of the whole grid")
    how.add_argument("--tpe", type=int, metavar="N", help="try N points chosen by Optuna's TPE sampler")
    sweep.add_argument("--seeds", default="0", metavar="N,...", help="seeds of every point (0)")
    sweep.add_argument(
        "--run-dir", metavar="D", help="output folder (runs/<config>_sweep); repeat a call to continue it"
    )
    _safety(sweep)
    sweep.add_argument("--amp", choices=("no", "bf16", "fp16"), default="no", help="mixed precision (no)")
    sweep.epilog = (
        "Every point is an ordinary run folder. Several processes may run the same call at once, also on several "
        "machines that share the folder."
    )
    _common(sweep)

    making = _command(group, "synthesize", synthesize, "make images from a teacher alone, to distil it without data")
    add_synthesis_options(making)
    _common(making)

    recipe = _command(group, "recipe", commands.recipe, "print a config for a method, a pair of models and a data set")
    recipe.add_argument(
        "method", metavar="METHOD", help="such as lskd, dkd_ls, sp_sfkd+kd; ce trains without a teacher"
    )
    recipe.add_argument("--teacher", metavar="T", help="such as resnet32x4, vit_small; several for aekd: T,T,...")
    recipe.add_argument("--student", required=True, metavar="S", help="such as resnet8x4; timm:NAME is any timm model")
    recipe.add_argument(
        "--dataset", default="cifar100", metavar="D",
        help="cifar10, cifar100, imagenet, tiny-imagenet, cub200, digits, fashion-mnist, torchvision:NAME, "
        "folder:PATH; synthetic:DIR of synthesize; for detectors coco, canvas-digits (cifar100)",
    )  # fmt: skip
    recipe.add_argument(
        "--real", metavar="D", help="with synthetic:DIR: the data set that validates (the one that DIR names)"
    )
    recipe.add_argument("--base", metavar="B", help="method to which lskd or sfkd is applied (kd)")
    recipe.add_argument(
        "--with", dest="transforms", default="", metavar="T,...",
        help="transforms before the loss: standardize,keep_salient=0.5",
    )  # fmt: skip
    recipe.add_argument(
        "--option", action="append", default=[], dest="options", metavar="KEY=VALUE",
        help="change a setting of the method, such as keep=0.3 or 'cuts=[3,6,9]'; in a sum, METHOD.KEY=VALUE",
    )  # fmt: skip
    recipe.add_argument(
        "--schedule", metavar="NAME", help="replace the method's schedule, such as cifar_step, heterogeneous_cnn"
    )
    schedule = recipe.add_argument_group("schedule")
    schedule.add_argument(
        "--epochs", type=int, metavar="N", help="number of epochs; milestones and warm-up are scaled (the schedule's)"
    )
    schedule.add_argument("--batch", type=int, metavar="N", help="batch size (the schedule's)")
    schedule.add_argument("--lr", type=float, metavar="X", help="learning rate (the schedule's)")
    images = recipe.add_argument_group(
        "images",
        "The sets of the papers' tables (cifar10, cifar100, imagenet, tiny-imagenet, cub200, digits) are prepared as "
        "in the papers, and their test images choose the best epoch, unless one of these options is given; digits "
        "takes none of them.",
    )
    images.add_argument("--size", type=int, metavar="N", help="height and width of the images (the set's or student's)")
    images.add_argument("--mean", metavar="V,V,V", help="mean of each channel (the known or measured one)")
    images.add_argument("--std", metavar="V,V,V", help="standard deviation of each channel (likewise)")
    images.add_argument(
        "--augment", metavar="A",
        help="none; crop-flip, a crop after padding and a flip (small images); imagenet, a crop of 8 to 100 %% of the "
        "area and a flip (large ones)",
    )  # fmt: skip
    images.add_argument("--train-images", type=int, metavar="N", help="number of training images, drawn by class (all)")
    images.add_argument(
        "--val-share", type=float, metavar="S",
        help="share of the training images that validate, above 0 and below 1 (0.1 where a set has no validation "
        "images; none for the sets of the papers' tables, unless --train-images is given)",
    )  # fmt: skip
    images.add_argument("--split-seed", type=int, default=0, metavar="N", help="seed of these draws (0)")
    recipe.add_argument("--out", metavar="F", help="output file; by default the config is printed")
    recipe.add_argument("--force", action="store_true", help="replace the file if it exists")

    listing = _command(group, "list", commands.list_names, "list what configs can name")
    listing.add_argument("kinds", nargs="*", metavar="KIND", help="losses, models, ... (all)")

    add_demo_options(_command(group, "demo", demo, "compare methods on real images and print a table"))

    bench = _command(group, "bench", commands.bench, "measure speed or memory on this machine, as ratios")
    bench.add_argument(
        "what", metavar="WHAT",
        help="losses, models, trainer, letkd, letkd-fit, synthesis; or a config, to measure its training step",
    )  # fmt: skip
    bench.add_argument(
        "--rounds", type=int, metavar="N",
        help="repetitions (losses 400 at most, models 20, trainer 7 epochs, letkd 10, synthesis 20, a config 20)",
    )  # fmt: skip
    bench.add_argument("--device", choices=("auto", "cpu", "cuda"), default="cpu", help="where to run (cpu)")
    bench.add_argument(
        "--amp", choices=("no", "bf16", "fp16"), default="no", help="mixed precision, for a config or trainer (no)"
    )
    bench.add_argument("--channels-last", action="store_true", help="memory layout of the images, for trainer")
    step = bench.add_argument_group("for a config")
    step.add_argument("--memory", action="store_true", help="measure the peak memory of a step instead of its time")
    step.add_argument(
        "--against", nargs="+", metavar="CONFIG",
        help="other configs to compare with the first one, in alternating rounds",
    )  # fmt: skip
    step.add_argument("--fake-data", action="store_true", help="use random images and weights: no download")
    step.add_argument("--json", metavar="F", help="also write the result to a file")
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
        help="refuse a config that runs code outside torch, torchvision, timm, torchdistill and kd_plugins",
    )  # fmt: skip
    parser.add_argument(
        "--allow", action="append", default=[], metavar="PACKAGE", help="with --safe: also trust this package"
    )


def _overrides(parser: Any) -> None:
    parser.add_argument(
        "--set", dest="overrides", action="extend", nargs="+", default=[], metavar="KEY=VALUE",
        help="override a value of the config, such as train.num_epochs=3",
    )  # fmt: skip
