"""One record per method: the source of the registry, recipes, the demo, committed configs and tables."""

from __future__ import annotations

import importlib
import pkgutil

from ._record import Loss, Method, Part, Reads

BASELINE = "ce"
"""Training without a teacher."""


_names = sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))
_records: list[Method] = [importlib.import_module(f"{__name__}.{name}").METHOD for name in _names]
METHODS = {record.name: record for record in sorted(_records, key=lambda record: not record.on_logits)}
"""The records of all files in this folder, those on logits first."""

__all__ = ["BASELINE", "METHODS", "Loss", "Method", "Part", "Reads"]
