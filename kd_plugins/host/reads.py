"""Which captured tensors a loss reads, told from its own fields: torchdistill's losses name them in several ways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .io_dict import IO_TYPES

OUTPUT_PATHS = ("output_path", "linear_path", "norm_module_path")
"""Ends of the keywords that torchdistill's losses have for the path of a module whose output they read."""

BEHIND_A_PROJECTION = ("linear_path", "norm_module_path")
"""Those of them that lead to a projection that is trained with the student."""

PROJECTIONS = "projections"
"""What ``ProjectedTeacher`` calls its projections, for any loss."""


@dataclass(frozen=True)
class Read:
    """One tensor that a loss takes from the io dict of one side.

    Attributes:
        path: module path.
        io: ``"input"`` or ``"output"``.
        pair: name of the pair in the config; empty where the loss has but one.
        projected: whether the path leads to a trained projection, whose input is the raw feature.
    """

    path: str
    io: str
    pair: str = ""
    projected: bool = False


def reads(fields: Mapping[str, Any], side: str) -> list[Read] | None:
    """Return what a loss reads from one side, without repetition; None where its fields do not tell.

    Args:
        fields: attributes of the loss, or its keywords in a config, which torchdistill's losses keep by name.
        side: ``"student"`` or ``"teacher"``.

    Example:
        >>> pair = {"teacher": {"path": "layer1", "io": "output"}, "student": {"path": "layer2", "io": "output"}}
        >>> reads({"at_pairs": {"first": pair}}, "teacher")
        [Read(path='layer1', io='output', pair='first', projected=False)]
    """
    found: dict[Read, None] = {}
    path = fields.get(f"{side}_module_path")
    if path is not None:
        io = fields.get(f"{side}_module_io")
        paths = [path] if isinstance(path, str) else path if isinstance(path, Sequence) else []
        found.update(dict.fromkeys(Read(one, io if io in IO_TYPES else "output") for one in paths))
    for end in OUTPUT_PATHS:
        path = fields.get(f"{side}_{end}")
        if isinstance(path, str):
            found[Read(path, "output", projected=end in BEHIND_A_PROJECTION)] = None
    for name, pairs in fields.items():
        if name.endswith("_pairs") and isinstance(pairs, Mapping):
            found.update(dict.fromkeys(_of_pairs(pairs, side)))
    known = [replace(one, projected=True) if one.path.split(".")[0] == PROJECTIONS else one for one in found]
    return known or None


def _of_pairs(pairs: Mapping[str, Any], side: str) -> list[Read]:
    """Return the tensors of ``{pair: {teacher: {path, io}, student: {path, io}}}``, also of ``teacher_first`` etc."""
    return [
        Read(place["path"], place.get("io", "output"), pair)
        for pair, places in pairs.items()
        if isinstance(places, Mapping)
        for key, place in places.items()
        if key.startswith(side) and isinstance(place, Mapping) and isinstance(place.get("path"), str)
    ]
