"""The configs that the repository carries: which command makes which file.

``python -m kd_plugins.recipes.committed configs`` writes them again.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from .data.digits import STUDENT, TEACHER, TEACHERS, file_name
from .options import option_words
from .recipe import recipe, sheet_of
from .request import Request
from .tables import pairs_of
from .tables.lakd import ATTENTION, CUTS

LOGITS = ("kd", "lskd", "ctkd", "ctkd_ls", "dkd", "dkd_ls", "mlkd", "mlkd_ls", "dist", "dist_ls", "ckd", "ckd_ls")
SALIENT_LOGITS = ("sfkd", "sfkd_ls", "dkd_sfkd", "mlkd_sfkd", "dist_sfkd", "ckd_sfkd")
FEATURES = ("fitnet", "at", "sp", "cc", "vid", "rkd", "pkt", "crd", "simkd", "reviewkd", "cat")
"""Bases that SFKD's tables mask, and CAT-KD."""
MASKED = tuple(f"{name}_sfkd" for name in FEATURES)
SUMS = ("sp+kd", "sp+sfkd", "sp_sfkd+kd", "sp_sfkd+sfkd")
"""SFKD's Table 6."""
ENSEMBLES = ("aekd", "aekd_sfkd", "aekd_f", "average")
LETKD = ("letkd1", "letkd2")
DIGITS = ("kd", "lskd", "ckd", "dkd", "ctkd", "mlkd", "dist", "sfkd", "lakd", *LETKD)
HETEROGENEOUS = (
    ("vit_small", "resnet18"),
    ("swin_tiny", "resnet18"),
    ("mixer_b16", "resnet18"),
    ("convnext_tiny", "swin_pico"),
)


def requests() -> Iterator[Request]:
    """Yield what the committed configs are asked to be."""
    for method in (*LOGITS, *SALIENT_LOGITS, *FEATURES, *MASKED):
        yield Request(method, "resnet32x4", "resnet8x4")
    yield Request("at_sfkd", "wrn_40_2", "shufflenetv1")
    for method in SUMS:
        yield Request(method, "wrn_40_2", "shufflenetv1")
    yield Request("aekd", ",".join(["resnet32x4"] * 3), "vgg8")
    yield Request("aekd_sfkd", ",".join(["resnet32x4"] * 3), "vgg8")
    yield Request("aekd_f", ",".join(["resnet32x4"] * 3), "vgg8")
    yield from table_of("lakd", "cifar100")
    yield Request("lakd", "vit_small", "resnet20")
    for setting in dict.fromkeys(option_words(options) for _, options in (*CUTS, *ATTENTION)):
        yield Request("lakd", "resnet56", "resnet20", "cifar10", options=setting)
    yield from table_of("lakd", "imagenet")
    for method in LETKD:
        for dataset in ("cifar100", "tiny-imagenet", "imagenet"):
            yield from table_of(method, dataset)
    for teacher, student in HETEROGENEOUS:
        yield Request("kd", teacher, student)
    for teacher in TEACHERS:
        yield Request("ce", None, teacher, "digits")
    yield Request("ce", None, STUDENT, "digits")
    for method in DIGITS:
        yield Request(method, TEACHER, STUDENT, "digits")
    for method in ENSEMBLES:
        yield Request(method, ",".join(TEACHERS), STUDENT, "digits")


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
