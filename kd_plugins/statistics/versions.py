"""Versions of the libraries that a result depends on."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("kd-plugins", "torch", "torchvision", "torchdistill", "timm", "numpy", "scikit-learn")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries."""
    return {"python": platform.python_version(), **{package: _version(package) for package in PACKAGES}}


@cache
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed as a package"
