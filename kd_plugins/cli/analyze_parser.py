"""The options of ``kd-plugins analyze``."""

from __future__ import annotations

import argparse
from typing import Any


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of all analyses, and those of each; an option that is not given is left out of the result.

    The parsed arguments hold the names of the options of single analyses as ``single``.
    """
    parser.add_argument("config", metavar="CONFIG", help="YAML file of the student's training")
    parser.add_argument(
        "--what", required=True, metavar="W,...",
        help="logits, tsne, correlation, cam, attention, cka, agreement, subclasses, probe, "
        "information, curves, detections, synthesis; several share one pass over the images",
    )  # fmt: skip
    parser.add_argument(
        "--checkpoint", action="append", default=[], dest="checkpoints", metavar="[NAME=]FILE",
        help="a student: best.pt of a run, a run folder, a state dict, or 'kd=runs/kd/seed0/epoch-*.pt'; several stand "
        "side by side; for curves also a folder of seeds",
    )  # fmt: skip
    parser.add_argument("--out", default="analysis", metavar="DIR", help="folder of W.json and W.png (analysis)")
    parser.add_argument("--images", type=int, metavar="N", help="use N test images, drawn by the seed (all)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of all draws (0)")
    parser.add_argument("--no-plot", action="store_true", help="write no pictures")

    def add(*names: str, **kwargs: Any) -> None:
        single.append(one.add_argument(*names, default=argparse.SUPPRESS, **kwargs).dest)

    single: list[str] = []
    parser.set_defaults(single=single)
    one = parser.add_argument_group("options of one analysis")
    add("--image", type=int, metavar="I", help="logits: the test image whose logits are shown")
    add("--classes", type=int, metavar="N", help="tsne: show N classes, drawn by the seed")
    add(
        "--of",
        choices=("weights", "logits"),
        help="correlation: of the classifier's weights or of the logits (weights)",
    )
    add("--centred", action="store_true", help="correlation: subtract the mean of each class's weights")
    add("--method", choices=("cam", "gradcam"), help="cam: which map (cam where the classifier is linear)")
    add("--class", dest="target", choices=("label", "predicted"), help="cam: which class (label)")
    add(
        "--points", nargs="+", metavar="POINT",
        help="cam (one of them), attention, probe, information: feature points or module paths (the last map, or "
        "the ends of the stages)",
    )  # fmt: skip
    add("--ndam", action="store_true", help="attention: the teacher's activity in the settings of LAKD's Table 5")
    add(
        "--distance", action="store_true",
        help="attention: the squared difference of the layers that a LAKD config aligns; needs last.pt of the run",
    )  # fmt: skip
    add(
        "--keys", nargs="+", metavar="KEY",
        help="curves: numbers of metrics.jsonl such as terms.ce, lr, val.nll (the loss and the main scores)",
    )  # fmt: skip
    add("--sweep", choices=("keep",), help="information: measure the feature masked to K = 0.1, 0.2, ..., 1.0")
    add("--keep", type=float, metavar="K", help="information: mask the feature to a share of its entries (1.0)")
    add("--by", choices=("value", "magnitude"), help="information: which entries are kept (value)")
    add("--repeats", type=int, metavar="N", help="information: fits with different seeds (3)")
    add("--epochs", type=int, metavar="N", help="information: most epochs of a fit (30)")
    add(
        "--memory-budget", metavar="SIZE",
        help="information: memory for features (2GiB); larger ones are kept in temporary files",
    )  # fmt: skip
    add("--head", choices=("lda", "linear"), help="probe: discriminant analysis or logistic regression (lda)")
    add("--judge", metavar="CONFIG2", help="synthesis: a config whose teacher also classifies the images")
