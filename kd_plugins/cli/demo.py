"""The command ``kd-plugins demo``."""

from __future__ import annotations

import argparse
from typing import Any

from .lists import names, numbers


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the demos."""
    parser.add_argument(
        "--task", choices=("classification", "detection", "data-free"), default="classification",
        help="detection finds digits on canvases with a small Faster R-CNN; data-free teaches digits with images that "
        "are made from the teacher alone (classification)",
    )  # fmt: skip
    parser.add_argument(
        "--dataset", choices=("digits", "fashion-mnist"),
        help="digits: a ViT teaches a small CNN, in minutes; fashion-mnist: two teachers and the five "
        "papers' methods, about an hour for the first teacher on two slow CPU cores (digits)",
    )  # fmt: skip
    parser.add_argument(
        "--run-dir", metavar="D",
        help="folder of the demo's runs (runs/demo, runs/demo_fashion-mnist, runs/demo_detection, runs/demo_data-free)",
    )  # fmt: skip
    parser.add_argument(
        "--methods", metavar="M,...",
        help="for digits any of kd,lskd,ckd,dkd,ctkd,mlkd,dist,nkd,sfkd,lakd,letkd1,letkd2 (kd,lskd,ckd); for "
        "fashion-mnist any method of recipe (kd,lskd,sfkd,ckd,lakd,letkd1,letkd2,lskd+sfkd,kd+letkd2); for detection "
        "any that recipe prints for canvas-digits (kd,ckd,reviewkd,ckd+reviewkd)",
    )  # fmt: skip
    parser.add_argument("--seeds", default="0,1,2", metavar="N,...", help="seeds (0,1,2)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="cpu", help="where to run (cpu)")
    digits = parser.add_argument_group("digits")
    digits.add_argument(
        "--transforms", metavar="T,...",
        help="transforms before each loss: none,standardize,keep_salient (none)",
    )  # fmt: skip
    fashion = parser.add_argument_group("fashion-mnist")
    fashion.add_argument("--teachers", metavar="T,...", help="resnet20,vit or one of them (both)")
    fashion.add_argument(
        "--trials", type=int, metavar="N",
        help="also search the weights of each method with N runs on validation images, and add a row for the best (0)",
    )  # fmt: skip


def demo(arguments: argparse.Namespace) -> int:
    """Run the demo."""
    from ..demo import run_benchmark, run_demo

    foreign = {
        "digits": ("teachers", "trials"), "fashion-mnist": ("transforms",),
        "detection": ("dataset", "transforms", "teachers", "trials"),
        "data-free": ("dataset", "methods", "transforms", "teachers", "trials"),
    }  # fmt: skip
    which = arguments.dataset or "digits" if arguments.task == "classification" else arguments.task
    for name in foreign[which]:
        if getattr(arguments, name) is not None:
            raise ValueError(f"--{name} is no option of the demo on {which}; leave it out")
    common: dict[str, Any] = {"seeds": numbers("--seeds", arguments.seeds), "device": arguments.device}
    common |= {} if arguments.run_dir is None else {"run_dir": arguments.run_dir}
    for name in ("methods", "teachers", "transforms"):
        if getattr(arguments, name) is not None:
            common[name] = names(getattr(arguments, name))
    if which == "detection":
        from ..demo.detection.run import run_detection_demo

        run_detection_demo(**common)
    elif which == "data-free":
        from ..demo.data_free.run import run_data_free_demo

        run_data_free_demo(**common)
    elif which == "digits":
        run_demo(**common)
    else:
        run_benchmark(**common, trials=arguments.trials or 0)
    return 0
