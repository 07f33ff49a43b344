"""Cut points of a locally learning student, and the teacher's feature map for each module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..._checks import check_choice, nearest
from ...models.points.entries import ShownPoint, resolve_points, shown_point
from .anatomy import Anatomy

CUT_NAMES = ("plain", "shifted", "every")
TEACHER_NAMES = ("stage_ends", "same_depth")

Entry = str | int | Mapping[str, Any]
"""Module path, number of a block from 1, or mapping such as ``{path: blocks.5, layout: NLC, prefix_tokens: 1}``."""


def student_points(parts: Anatomy, cuts: str | Sequence[Entry]) -> list[ShownPoint]:
    """Return the points where the student's modules end.

    ``cuts`` is ``"plain"`` (blocks n, 2n, 3n of three stages of n: the stages' ends), ``"shifted"`` (1, n + 1, 3n: the
    stages' first blocks, and the last block), ``"every"`` (every block), or a list of entries. An entry that names no
    module of the student raises ``ValueError``.
    """
    if isinstance(cuts, str):
        check_choice("cuts", cuts, CUT_NAMES)
        if cuts == "every":
            _need_blocks(parts, "cuts: every")
            return [parts.point(block) for block in parts.blocks]
        parts.need_stages(f"cuts: {cuts}")
        paths = parts.ends_of_stages() if cuts == "plain" else [*parts.starts_of_stages()[:-1], parts.blocks[-1]]
        return [parts.point(path) for path in paths]
    return _points(parts, "cuts", cuts, CUT_NAMES)


def teacher_points(
    parts: Anatomy, student: Anatomy, modules: Sequence[ShownPoint], wanted: str | Sequence[Entry]
) -> list[ShownPoint]:
    """Return the teacher point for each module of the student.

    ``wanted`` is ``"stage_ends"``: one to one if there are as many modules as the teacher has stages, else the end of
    the stage at the same relative depth; ``"same_depth"``: the block at the same relative depth; or a list with one
    entry per module. An entry that the teacher lacks, or a list of another length, raises ``ValueError``.
    """
    if isinstance(wanted, str):
        check_choice("teacher", wanted, TEACHER_NAMES)
        if wanted == "same_depth":
            return [parts.point(parts.blocks[i]) for i in _same_depth(parts, student, modules)]
        parts.need_stages("teacher: stage_ends")
        return [shown_point(parts.stages[number]) for number in _stage_numbers(parts, student, modules)]
    points = _points(parts, "teacher", wanted, TEACHER_NAMES)
    if len(points) != len(modules):
        raise ValueError(f"teacher must have one entry per module: {len(modules)}, found {len(points)}")
    return points


def attention_sources(wanted: str | Sequence[int], modules: int) -> list[int]:
    """Return, for each module, the index of the module whose teacher map gives the attention.

    ``wanted`` is ``"own"``, ``"last"``, or a list of module numbers from 1, each its own or a later one.
    """
    if isinstance(wanted, str):
        check_choice("attention_from", wanted, ("own", "last"))
        return list(range(modules)) if wanted == "own" else [modules - 1] * modules
    if len(wanted) != modules or not all(own <= n <= modules for own, n in enumerate(wanted, start=1)):
        raise ValueError(
            f"attention_from must be own, last, or a list of {modules} module numbers, each its own module's or a "
            f"later one, found {wanted!r}"
        )
    return [number - 1 for number in wanted]


def regressed_channels(given: Sequence[int] | None, own: list[int]) -> list[int]:
    """Return the number of channels of each module's map after its regressor: ``teacher_channels``, or its own."""
    if given is None:
        return own
    if len(given) != len(own) or not all(isinstance(c, int) and c > 0 for c in given):
        raise ValueError(
            f"teacher_channels must be a list of {len(own)} positive integers, one per module, found {given!r}"
        )
    return list(given)


def _stage_numbers(parts: Anatomy, student: Anatomy, modules: Sequence[ShownPoint]) -> list[int]:
    stages = len(parts.stages)
    if len(modules) == stages:
        return list(range(stages))
    student.need_stages(f"teacher: stage_ends for {len(modules)} modules and {stages} stages of the teacher")
    own = [student.stage_of(point.path) for point in modules]
    return [-(-number * stages // len(student.stages)) - 1 for number in own]


def _same_depth(parts: Anatomy, student: Anatomy, modules: Sequence[ShownPoint]) -> list[int]:
    _need_blocks(parts, "teacher: same_depth")
    _need_blocks(student, "teacher: same_depth")
    ends = [student.finished[block] for block in student.blocks]
    # A module may end between two blocks; its depth is the number of blocks that have finished.
    depths = [max(sum(end <= student.finished[point.path] for end in ends), 1) for point in modules]
    return [-(-depth * len(parts.blocks) // len(ends)) - 1 for depth in depths]


def _points(parts: Anatomy, argument: str, entries: Any, names: Sequence[str]) -> list[ShownPoint]:
    if isinstance(entries, Mapping) or not isinstance(entries, Sequence) or not entries:
        raise ValueError(
            f"{argument} must be one of {', '.join(names)}, or a list of module paths and block numbers, found "
            f"{entries!r}"
        )
    return [_point(parts, argument, entry) for entry in entries]


def _point(parts: Anatomy, argument: str, entry: Entry) -> ShownPoint:
    model = type(parts.model).__name__
    if isinstance(entry, int) and not isinstance(entry, bool):
        _need_blocks(parts, f"block number {entry} in {argument}")
        if not 1 <= entry <= len(parts.blocks):
            raise ValueError(f"{argument}: {model} has blocks 1..{len(parts.blocks)}, found {entry}")
        return parts.point(parts.blocks[entry - 1])
    if isinstance(entry, Mapping):
        return resolve_points(parts.model, [{"name": str(entry.get("path", "")).replace(".", "_"), **entry}])[0]
    if not isinstance(entry, str):
        raise ValueError(f"{argument} must contain module paths and block numbers, found {entry!r}")
    if entry in parts.calls and entry != ".":
        return parts.point(entry)
    for stage in parts.stages:
        if stage.name == entry:
            return shown_point(stage)
    known = [*parts.blocks, *(stage.name for stage in parts.stages)]
    near = nearest(entry, [path for path in parts.calls if path != "."], count=2)
    offer = f"did you mean {' or '.join(map(repr, near))}?" if near else f"it has: {', '.join(known[:12])}"
    raise ValueError(f"{argument}: {model} has no module {entry!r}; {offer}")


def _need_blocks(parts: Anatomy, for_what: str) -> None:
    if not parts.blocks:
        raise ValueError(
            f"{for_what}: the blocks of {type(parts.model).__name__} are unknown; give module paths instead"
        )
