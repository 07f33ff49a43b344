"""Shared code of the records of feature methods."""

from __future__ import annotations

from ..pairs.setting import Setting, Term
from ..pairs.sides import Place
from ._record import Method

WEIGHT = "Weight: that of SFKD's Table 9, as in {paper}."
BOTH = ("", "_sfkd")
"""Committed configs of a method with a masked form in SFKD's tables."""

SAME_CHANNELS = {"student_module_path": "layer", "teacher_module_path": "layer"}
OTHER_CHANNELS = {"student_module_path": "layer", "teacher_module_path": "wide"}
"""Feature maps for the contract test: (B, 6, 4, 4) on both sides, or (B, 9, 8, 8) for the teacher."""


def paths(student: Place, teacher: Place, *, default_io: bool = False) -> dict[str, str]:
    """Return the keywords for the tensors that a loss compares; ours have the default ``output``."""
    made = {}
    for side, (path, io) in (("student", student), ("teacher", teacher)):
        made[f"{side}_module_path"] = path
        if default_io or io != "output":
            made[f"{side}_module_io"] = io
    return made


def pair(student: Place, teacher: Place) -> dict[str, object]:
    """Return a pair in the format of torchdistill's losses on several features."""
    places = {side: {"path": path, "io": io} for side, (path, io) in (("teacher", teacher), ("student", student))}
    return {**places, "weight": 1}


def last_map(method: Method, setting: Setting) -> list[Term]:
    """Return a term on the last maps, without a regressor."""
    return [method.term(setting, paths(setting.student.map_at("last_map"), setting.teacher.map_at("last_map")))]


def pooled(method: Method, setting: Setting) -> list[Term]:
    """Return a term on the classifiers' inputs."""
    return [method.term(setting, paths(setting.student.pooled(), setting.teacher.pooled()))]
