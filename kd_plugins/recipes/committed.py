"""The configs that the repository carries: which command makes which file.

``python -m kd_plugins.recipes.committed configs`` writes them again.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from ..methods import METHODS
from .data.digits import STUDENT, TEACHER, TEACHERS, file_name
from .options import option_words
from .recipe import recipe, sheet_of
from .request import Request
from .tables import pairs_of
from .tables.lakd import ATTENTION, CUTS

SUMS = ("sp+kd", "sp+sfkd", "sp_sfkd+kd", "sp_sfkd+sfkd")
"""SFKD's Table 6."""
HETEROGENEOUS = (
    ("vit_small", "resnet18"),
    ("swin_tiny", "resnet18"),
    ("mixer_b16", "resnet18"),
    ("convnext_tiny", "swin_pico"),
)


def requests() -> Iterator[Request]:
    """Yield what the committed configs are asked to be."""
    for method in METHODS.values():
        pair = (",".join(["resnet32x4"] * 3), "vgg8") if method.teachers else ("resnet32x4", "resnet8x4")
        for suffix in method.configs:
            yield Request(method.name + suffix, *pair)
        for dataset in method.tabled:
            yield from table_of(method.name, dataset)
    yield Request("at_sfkd", "wrn_40_2", "shufflenetv1")
    for name in SUMS:
        yield Request(name, "wrn_40_2", "shufflenetv1")
    yield Request("lakd", "vit_small", "resnet20")
    for setting in dict.fromkeys(option_words(options) for _, options in (*CUTS, *ATTENTION)):
        yield Request("lakd", "resnet56", "resnet20", "cifar10", options=setting)
    for teacher, student in HETEROGENEOUS:
        yield Request("kd", teacher, student)
    for teacher in TEACHERS:
        yield Request("ce", None, teacher, "digits")
    yield Request("ce", None, STUDENT, "digits")
    for method in METHODS.values():
        if method.demo:
            yield Request(method.name, TEACHER, STUDENT, "digits")
        for suffix in (method.configs or ("",)) if method.teachers else ():
            yield Request(method.name + suffix, ",".join(TEACHERS), STUDENT, "digits")


def table_of(method: str, dataset: str) -> Iterator[Request]:
    """Yield a request a pair that the papers have for a method."""
    for teacher, student in pairs_of(method, dataset):
        yield Request(method, teacher, student, dataset)


def path_of(request: Request) -> str:
    """Return where below ``configs`` a config lies."""
    sheet = sheet_of(request)
    if sheet.dataset.name == "digits":
        folder = "teacher" if request.student in TEACHERS else sheet.name
        return f"digits/{folder}/{file_name(sheet.stem)}.yaml"
    return f"{sheet.dataset.name}/{sheet.name}/{sheet.stem}.yaml"


def committed_configs() -> dict[str, str]:
    """Return path below ``configs`` -> text."""
    return {path_of(request): recipe(request) for request in requests()}


def write_committed_configs(folder: str | Path) -> None:
    """Write :func:`committed_configs` below a folder."""
    for name, text in committed_configs().items():
        path = Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write_committed_configs(sys.argv[1] if len(sys.argv) > 1 else "configs")
