"""What the records of feature methods share."""

from __future__ import annotations

from ..pairs.setting import Setting, Term
from ..pairs.sides import Place
from ._record import Method

WEIGHT = "Weight: that of SFKD's Table 9, as in {paper}."
BOTH = ("", "_sfkd")
"""Committed configs of a method that SFKD's tables mask."""

SAME_CHANNELS = {"student_module_path": "layer", "teacher_module_path": "layer"}
OTHER_CHANNELS = {"student_module_path": "layer", "teacher_module_path": "wide"}
"""Feature maps of the contract test: (B, 6, 4, 4) on both sides, or the teacher's (B, 9, 8, 8)."""


def paths(student: Place, teacher: Place) -> dict[str, str]:
    """Return the keywords that name the tensors that a loss compares; ``output`` is the default."""
    made = {"student_module_path": student[0]}
    if student[1] != "output":
        made["student_module_io"] = student[1]
    made["teacher_module_path"] = teacher[0]
    if teacher[1] != "output":
        made["teacher_module_io"] = teacher[1]
    return made


def pair(student: Place, teacher: Place) -> dict[str, object]:
    """Return a pair as torchdistill's losses on several features have it."""
    places = {side: {"path": path, "io": io} for side, (path, io) in (("teacher", teacher), ("student", student))}
    return {**places, "weight": 1}


def last_map(method: Method, setting: Setting) -> list[Term]:
    """Compare the last maps, with no regressor."""
    return [method.term(setting, paths(setting.student.map_at("last_map"), setting.teacher.map_at("last_map")))]


def pooled(method: Method, setting: Setting) -> list[Term]:
    """Compare the vectors that the classifiers take."""
    return [method.term(setting, paths(setting.student.vector_at(), setting.teacher.vector_at()))]
