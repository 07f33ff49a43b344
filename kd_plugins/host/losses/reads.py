"""Captured tensors that a loss reads, found from the attributes in which torchdistill's losses keep module paths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .io_dict import IO_TYPES

SIDES = ("student", "teacher")

ONE_SIDED = {
    "paraphraser_path": "teacher",
    "knowledge_translator_path": "teacher",
    "translator_path": "student",
    "feature_adapter_path": "student",
}
"""Attributes of FTLoss and KTALoss, and the side of the module whose output they read."""

MODULE_PATH = {"AuxSSKDLoss": "teacher", "PADL2Loss": "student"}
"""Losses whose ``module_path`` names no side, and the side that they read."""

BEHIND_A_PROJECTION = ("linear", "norm_module")
"""Middle words of the attributes that name a projection trained with the student."""

NO_TENSOR = ("empty_module",)
"""Middle words of an attribute that names the batch's supplement (``CRDLoss``)."""

PROJECTIONS = "projections"
"""Name of the projections in ``ProjectedTeacher``."""


@dataclass(frozen=True)
class Read:
    """One tensor that a loss reads from the io dict of one side."""

    path: str
    io: str
    pair: str = ""  # its name in the config; empty if the loss has only one
    projected: bool = False  # whether the path names a trained projection, whose input is the raw feature
    what: str = field(default="", compare=False)  # kind of tensor, such as linear_module


def reads(fields: Mapping[str, Any], side: str, names: Sequence[str] = ()) -> list[Read] | None:
    """Return what a loss reads from one side, without repetition; None if its fields name no tensor of either side.

    ``fields`` are the attributes of the loss, or its keywords in a config, which torchdistill's losses keep by name;
    ``names`` are those of its class and base classes, or its key in a config.
    """
    found = {one: list(dict.fromkeys(_found(fields, one, names))) for one in SIDES}
    return found[side] if any(found.values()) else None


def reads_of(loss: object, side: str) -> list[Read] | None:
    """Return what a loss reads from one side, as :func:`reads` does."""
    return reads(vars(loss), side, [kind.__name__ for kind in type(loss).__mro__])


def _found(fields: Mapping[str, Any], side: str, names: Sequence[str]) -> Iterator[Read]:
    for name, value in fields.items():
        start, _, middle = name.removesuffix("_path").partition("_")
        if name.endswith("_path") and start == side and middle not in NO_TENSOR:
            io = fields.get(f"{side}_{middle}_io")
            for path in [value] if isinstance(value, str) else value if isinstance(value, Sequence) else []:
                read = Read(path, io if io in IO_TYPES else "output", what=middle)
                yield replace(read, projected=middle in BEHIND_A_PROJECTION or path.split(".")[0] == PROJECTIONS)
        elif ONE_SIDED.get(name) == side and isinstance(value, str):
            yield Read(value, "output", what=name.removesuffix("_path"))
        elif name == "module_path" and isinstance(value, str) and _side_of_module_path(fields, names) == side:
            yield Read(value, fields.get("module_io", fields.get("io_type", "output")), what="module")
        elif name.endswith("_pairs") and isinstance(value, Mapping):
            yield from _of_pairs(value, side)


def _side_of_module_path(fields: Mapping[str, Any], names: Sequence[str]) -> str | None:
    if "RegularizationLoss" in names:
        return "teacher" if fields.get("is_from_teacher") else "student"
    return next((MODULE_PATH[name] for name in names if name in MODULE_PATH), None)


def _of_pairs(pairs: Mapping[str, Any], side: str) -> Iterator[Read]:
    """Yield the tensors of ``{pair: {teacher: {path, io}, student: {path, io}}}``, also of ``teacher_first`` etc."""
    for pair, places in pairs.items():
        for key, place in places.items() if isinstance(places, Mapping) else ():
            if key.startswith(side) and isinstance(place, Mapping) and isinstance(place.get("path"), str):
                path = place["path"]
                yield Read(path, place.get("io", "output"), pair, projected=path.split(".")[0] == PROJECTIONS)
