"""Teacher feature maps for a locally learning student."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...models.points.entries import CLASS_MAPS, ShownPoint, resolve_points
from ...models.points.probe import Place, capture, probe_images
from ..transparent import TransparentWrapper
from .alignment import Entry, teacher_points
from .anatomy import Anatomy, anatomy

Maps = dict[Place, Tensor]


@dataclass(frozen=True)
class HeardTeacher:
    """Points captured from a teacher: one for each module of the student, and with class maps the last feature map."""

    points: tuple[ShownPoint, ...]
    last_map: ShownPoint | None
    bytes_per_sample: int

    @property
    def places(self) -> list[Place]:
        """Return the places to capture, without repetition."""
        return list(dict.fromkeys((p.path, p.io) for p in (*self.points, self.last_map) if p is not None))

    def map_of(self, number: int, maps: Maps) -> Tensor:
        """Return the teacher map (B, c, H, W) for module ``number``, from 0."""
        point = self.points[number]
        return point.as_map(maps[point.path, point.io])

    def forget(self, maps: Maps, number: int, attention_from: Sequence[int]) -> None:
        """Remove the maps that no module after ``number`` needs; -1 stands for before the first."""
        later = range(number + 1, len(self.points))
        needed = [self.points[n] for module in later for n in (module, attention_from[module])]
        places = {(point.path, point.io) for point in needed}
        for place in [place for place in maps if place not in places]:
            del maps[place]


def model_inside(teacher: nn.Module) -> nn.Module:
    """Return the teacher without its wrappers."""
    while True:
        if isinstance(teacher, TransparentWrapper):
            teacher = getattr(teacher, teacher.inside)
        elif isinstance(teacher, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            teacher = teacher.module
        else:
            return teacher


def heard_teacher(
    teacher: nn.Module,
    student: Anatomy,
    ends: Sequence[ShownPoint],
    wanted: str | Sequence[Entry],
    channels: Sequence[int],
    *,
    class_maps: bool,
) -> HeardTeacher:
    """Return the points to capture from a teacher, without its wrappers, for a student's modules that end at ``ends``.

    ``wanted`` is the config's ``teacher``, and ``channels`` are those of the student's maps after their regressors. A
    point that the teacher lacks, or that has other channels, raises ``ValueError``.
    """
    try:
        parts = anatomy(teacher)
        points = teacher_points(parts, student, ends, wanted)
        last = class_point(parts, "teacher") if class_maps else None
        images = probe_images(teacher, parts.size)
        found = capture(teacher, images, {(point.path, point.io) for point in points})
        own = [point.as_map(found[point.path, point.io]).shape[1] for point in points]
    except ValueError as error:
        raise ValueError(f"LAKDStudent and its teacher {type(teacher).__name__}: {error}") from error
    if own != list(channels):
        raise ValueError(
            f"LAKDStudent: the teacher's maps at {', '.join(point.path for point in points)} have {own} channels, but "
            f"the student's have {list(channels)}; set teacher_channels: {own}"
        )
    return HeardTeacher(tuple(points), last, sum(x.nbytes for x in found.values()) // len(images))


def class_point(parts: Anatomy, side: str) -> ShownPoint:
    """Return the last map, with the head for class maps; raise ``ValueError`` unless it is linear on the average."""
    model = parts.model
    advice = "or turn class attention off: class_attention: False in LAKDStudent and alpha: 1 in LAKDLoss"
    try:
        point = resolve_points(model, [CLASS_MAPS], probe_size=parts.size)[0]
    except ValueError as error:
        raise ValueError(f"class attention needs a linear head on the {side}'s last map: {error}; {advice}") from error
    if point.layout == "NLC":
        return point  # a class token may come between the tokens and the head
    head = model.get_submodule(point.head or "")
    images = probe_images(model, parts.size)
    found = capture(model, images, {(point.path, point.io), (".", "output")})
    features, logits = point.as_map(found[point.path, point.io]), found[".", "output"]
    with torch.no_grad():
        expected = nn.functional.linear(features.mean((2, 3)), head.weight.flatten(1), head.bias)  # type: ignore[operator, arg-type]
    if expected.shape != logits.shape or not torch.allclose(expected, logits, rtol=1e-3, atol=1e-3):
        raise ValueError(
            f"class attention needs a linear head on the average of the {side}'s last map, but {type(model).__name__} "
            f"has other layers, such as a norm, between {point.path!r} and its logits; {advice}"
        )
    return point
