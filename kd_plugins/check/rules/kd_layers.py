"""KD layers (letKD) at places where they cannot do what they are for."""

from __future__ import annotations

from itertools import combinations

from torch import nn

from ...bench.steps.training_step import TrainingStep
from ...models import feature_points
from ...models.letkd import first_block, inserted_points, without_kd_layers
from ...models.points.entries import ShownPoint
from ...models.points.probe import Place, capture, probe_images
from ..findings import Findings
from ..stage import Stage
from ..steps.observed import Observed

LAST_MAP = "last_map"
"""The point of a penultimate layer, which no block ever follows."""


def check_kd_layers(findings: Findings, step: TrainingStep, seen: Observed, stage: Stage) -> None:
    """Add KD layers on one tensor, and layers that no block of the student follows because its last stage has one."""
    model = step.box.org_student_model if stage.has_teacher else step.box.org_model
    points = inserted_points(model)
    if not points:
        return
    size = (seen.images[-2], seen.images[-1])
    only_block, earlier = _last_stage(model, size)
    places = {name: (point.path, point.io) for name, point in points.items()}
    with without_kd_layers(model):
        maps = capture(model, probe_images(model, size), {*places.values(), *only_block})

    def add(name: str, message: str) -> None:
        advice = f"move {name} to an earlier point, as in {{name: {name}, point: {earlier}, num_scores: ...}}"
        at = (*stage.model_path("student"), "kwargs", "layers", list(points).index(name))
        findings.warning(f"{message}: {advice}", *at)

    moved = set()
    for one, other in combinations(points, 2):
        if maps[places[one]] is maps[places[other]]:
            name = one if points[other].name == LAST_MAP else other
            moved.add(name)
            both = f"{_named(one, points[one])} and {_named(other, points[other])}"
            add(name, f"the KD layers {both} are on one tensor, with no part of the student between them")
    single = len({id(maps[place]) for place in only_block}) == 1
    for name, point in points.items():
        if single and point.name != LAST_MAP and name not in moved and maps[places[name]] is maps[only_block[0]]:
            which = f"the KD layer {_named(name, point)}"
            add(name, f"{which} is behind the only block of the last stage, so no block uses its output")


def _last_stage(model: nn.Module, size: tuple[int, int]) -> tuple[list[Place], str]:
    """Return the first block of the last stage and the last map, and the name of the stage before, if known."""
    try:
        block, points = first_block(model, probe_size=size), feature_points(model, input_size=size)
    except ValueError:
        return [], "PATH"
    last = next(point for point in points if point.name == LAST_MAP)
    stages = [point.name for point in points if point.name.startswith("stage") and "_" not in point.name]
    return [(block.path, block.io), (last.path, last.io)], stages[-2] if len(stages) > 1 else "PATH"


def _named(name: str, point: ShownPoint) -> str:
    return f"{name} ({point.path} {point.io})"
