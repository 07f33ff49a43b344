"""What distillation needs to know of a detector: levels of its pyramid, classes, and whether it has proposals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...models.points.probe import still

PROBE = 128
"""Height and width of the image that shows the levels of a detector without a fixed size."""


@dataclass(frozen=True)
class Level:
    """A level of a pyramid."""

    channels: int
    stride: int


def levels_of(detector: nn.Module) -> dict[str, Level]:
    """Return the levels of a backbone by name, from the finest; raise ``ValueError`` for no torchvision detector."""
    missing = [name for name in ("transform", "backbone") if not hasattr(detector, name)]
    if missing:
        raise ValueError(
            f"a detector must have a transform and a backbone, as torchvision's have; {type(detector).__name__} has no "
            f"{' and no '.join(missing)}"
        )
    parts: Any = detector
    height, width = parts.transform.fixed_size or (PROBE, PROBE)
    image = torch.zeros(1, 3, height, width, device=next(detector.parameters()).device)
    with still(detector):
        found = pyramid_of(parts.backbone(image))
    return {name: Level(x.shape[1], round(height / x.shape[2])) for name, x in found.items()}


def pyramid_of(output: Tensor | Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a backbone's output as a dictionary; torchvision's detectors allow a single map."""
    return {"0": output} if isinstance(output, Tensor) else dict(output)


def columns_of(detector: Any) -> int | None:
    """Return the number of class logits of a proposal, with the background; None if it is unknown."""
    predictor = getattr(getattr(detector, "roi_heads", None), "box_predictor", None)
    found = getattr(getattr(predictor, "cls_score", None), "out_features", None)
    return found if isinstance(found, int) else None


def check_proposals(student: Any, teacher: Any, teacher_levels: Mapping[str, Level]) -> None:
    """Raise ``ValueError`` unless the teacher can score the student's proposals."""
    for side, detector in (("student", student), ("teacher", teacher)):
        if not hasattr(detector, "roi_heads"):
            raise ValueError(
                f"points.proposals needs two-stage detectors, but the {side}, {type(detector).__name__}, has no "
                "roi_heads; compare the pyramids only (PyramidLoss on points.fpn.N)"
            )
    columns = columns_of(student), columns_of(teacher)
    if None not in columns and columns[0] != columns[1]:
        raise ValueError(
            f"student and teacher must score the same classes, found num_classes {columns[0]} and {columns[1]} (with "
            "the background)"
        )
    names = getattr(teacher.roi_heads.box_roi_pool, "featmap_names", ())
    # torchvision skips names that are not there; its own MobileNet detectors have some.
    if names and not set(names) & set(teacher_levels):
        raise ValueError(
            f"the teacher's box_roi_pool reads the levels {list(names)}, but its backbone returns "
            f"{list(teacher_levels)}: set featmap_names to some of these"
        )


def check_pyramids(student: Mapping[str, Level], teacher: Mapping[str, Level], channels: int | None) -> None:
    """Raise ``ValueError`` unless the levels have the same strides and, after the fusion, the same channels.

    ``channels`` is that of the fusion's output, or None without a fusion.
    """
    strides = [[level.stride for level in levels.values()] for levels in (student, teacher)]
    if strides[0] != strides[1]:
        raise ValueError(
            f"points.fpn needs pyramids of the same strides, found {strides[0]} in the student and {strides[1]} in the "
            "teacher"
        )
    widths = [level.channels if channels is None else channels for level in student.values()]
    wanted = [level.channels for level in teacher.values()]
    if widths != wanted:
        raise ValueError(
            f"points.fpn needs the teacher's channels, found {widths} in the student and {wanted} in the teacher; give "
            f"the student's wrapper review: {{mid_channels: 256, channels: {wanted[0]}}}"
        )
