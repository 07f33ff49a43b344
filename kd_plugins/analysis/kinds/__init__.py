"""One file per analysis: each defines one subclass of :class:`~kd_plugins.analysis.base.Analysis`."""

from __future__ import annotations

import importlib
import pkgutil

from ..base import Analysis


def _found() -> dict[str, type[Analysis]]:
    """Return the analyses of all files in this folder, by name."""
    modules = [importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]
    kinds = [
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Analysis) and value.__module__ == module.__name__
    ]
    return {kind.name: kind for kind in kinds}


ANALYSES: dict[str, type[Analysis]] = _found()
