"""One record per method: the source of the registry, recipes, the demo, committed configs and tables."""

from __future__ import annotations

import importlib
import pkgutil

from ._record import Loss, Method, Part, Reads

BASELINE = "ce"
"""Training without a teacher."""


def _found() -> dict[str, Method]:
    """Return the records of all files in this folder, those on logits first."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))
    records = [importlib.import_module(f"{__name__}.{name}").METHOD for name in names]
    return {record.name: record for record in sorted(records, key=lambda record: not record.on_logits)}


METHODS: dict[str, Method] = _found()

__all__ = ["BASELINE", "METHODS", "Loss", "Method", "Part", "Reads"]
