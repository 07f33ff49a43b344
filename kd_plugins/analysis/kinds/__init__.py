"""One file per analysis: each defines one subclass of :class:`~kd_plugins.analysis.base.Analysis`."""

from __future__ import annotations

import importlib
import pkgutil

from ..base import Analysis

for _found in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_found.name}")

ANALYSES: dict[str, type[Analysis]] = {
    kind.name: kind for kind in Analysis.__subclasses__() if kind.__module__.startswith(f"{__name__}.")
}
