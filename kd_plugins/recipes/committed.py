"""The configs in the repository.

``python -m kd_plugins.recipes.committed configs`` writes them again.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from ..methods import METHODS
from .data.digits import STUDENT, TEACHER, TEACHERS, file_name
from .detection import DATASETS as DETECTION_SETS
from .detection import file_of
from .detection.table import PAIRS
from .options import option_words
from .recipe import recipe, sheet_of
from .request import Request
from .tables import pairs_of
from .tables.lakd import ATTENTION, CUTS

SUMS = ("sp+kd", "sp+sfkd", "sp_sfkd+kd", "sp_sfkd+sfkd")
"""SFKD's Table 6."""
CANVAS_PAIR = ("resnet10t", "test_resnet")
HETEROGENEOUS = (
    ("vit_small", "resnet18"),
    ("swin_tiny", "resnet18"),
    ("mixer_b16", "resnet18"),
    ("convnext_tiny", "swin_pico"),
)


def requests() -> Iterator[Request]:
    """Yield the requests for the committed configs."""
    for method in METHODS.values():
        pair = ("resnet32x4,resnet32x4,resnet32x4", "vgg8") if method.teachers else ("resnet32x4", "resnet8x4")
        for suffix in method.configs:
            yield Request(method.name + suffix, *pair)
        for dataset in method.tabled:
            for tabled in pairs_of(method.name, dataset):
                yield Request(method.name, *tabled, dataset)
    for name in ("at_sfkd", *SUMS):
        yield Request(name, "wrn_40_2", "shufflenetv1")
    yield Request("lakd", "vit_small", "resnet20")
    for setting in dict.fromkeys(option_words(options) for _, options in (*CUTS, *ATTENTION)):
        yield Request("lakd", "resnet56", "resnet20", "cifar10", options=setting)
    for teacher, student in HETEROGENEOUS:
        yield Request("kd", teacher, student)
    for alone in (*TEACHERS, STUDENT):
        yield Request("ce", None, alone, "digits")
    for method in METHODS.values():
        if method.demo:
            yield Request(method.name, TEACHER, STUDENT, "digits")
        for suffix in (method.configs or ("",)) if method.teachers else ():
            yield Request(method.name + suffix, ",".join(TEACHERS), STUDENT, "digits")
    for pair in PAIRS:
        yield Request("ckd+reviewkd", *pair, "coco")
    for alone in CANVAS_PAIR:
        yield Request("ce", None, alone, "canvas-digits")
    for name in ("kd", "ckd", "reviewkd", "ckd+reviewkd"):
        yield Request(name, *CANVAS_PAIR, "canvas-digits")


def path_of(request: Request) -> str:
    """Return the path of a config below ``configs``."""
    if request.dataset in DETECTION_SETS:
        return file_of(request)
    sheet = sheet_of(request)
    if sheet.dataset.name == "digits":
        folder = "teacher" if request.student in TEACHERS else sheet.name
        return f"digits/{folder}/{file_name(sheet.stem)}.yaml"
    return f"{sheet.dataset.name}/{sheet.name}/{sheet.stem}.yaml"


def committed_configs() -> dict[str, str]:
    """Return path below ``configs`` -> text."""
    return {path_of(request): recipe(request) for request in requests()}


if __name__ == "__main__":
    for name, text in committed_configs().items():
        path = Path(sys.argv[1] if len(sys.argv) > 1 else "configs") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
