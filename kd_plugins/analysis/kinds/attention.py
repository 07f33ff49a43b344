"""Attention maps at named points (AT; LAKD, Fig. 4, 6 and 7)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..._errors import ConfigError
from ..._tables import text_table
from ...models.points.entries import ShownPoint
from ...models.points.names import feature_points
from ...models.points.probe import capture, probe_images
from ...transforms import activation_map, attention_map
from ...transforms.feature_map import average_pool
from ..base import TEACHER, Analysis, Reading, Study, Subject
from ..drawing import add_title, first_of_classes, map_grid, shown_images, unit_range
from ._lakd_distance import LayerDistance, distance_bars, distance_table

NDAM: tuple[tuple[bool, float, float], ...] = (
    (True, 0.0, 0.0),
    (True, 0.5, 0.5),
    (False, 0.5, 0.5),
    (True, 0.25, 0.75),
    (False, 0.25, 0.75),
)
"""Whether values are absolute, weight of the mean, weight of the maximum: the rows of LAKD's Table 5."""
SHOWN, SHOWN_NDAM = 2, 5
STAGE = re.compile(r"stage\d+")


class Attention(Analysis):
    r"""Attention maps of all models, and the distance of the students' from the teacher's.

    .. math:: \phi_{hw} = \frac{1}{c} \sum_k F_{khw}^2, \qquad
        \frac{1}{NHW} \sum_i \Bigl\lVert \frac{\phi^s_i}{\lVert \phi^s_i \rVert_2} -
            \frac{\phi^t_i}{\lVert \phi^t_i \rVert_2} \Bigr\rVert_2^2

    The distance is :func:`~kd_plugins.losses.attention_transfer_loss` over all images. A student's point is compared
    with the teacher's at the same relative place in the list.

    Args:
        points: feature points or module paths; by default the ends of the stages.
        ndam: show the teacher's activity in the five settings of LAKD's Table 5 instead.
        distance: show the mean squared difference of the layers that a LAKD config aligns instead.

    Raises:
        ConfigError: if ``distance`` is combined with ``points`` or ``ndam``.

    References:
        Zagoruyko and Komodakis, Paying More Attention to Attention, ICLR 2017. Zhang et al., LAKD, 2024, Table 5 and
        Figure 5.
    """

    name = "attention"
    title = "attention maps"

    def __init__(self, *, points: list[str] | None = None, ndam: bool = False, distance: bool = False) -> None:
        if distance and (points or ndam):
            found = "--points" if points else "--ndam"
            raise ConfigError(f"--distance compares the layers of the LAKD config, found {found}; leave one out")
        self.layers = LayerDistance(self.name) if distance else None
        self.points, self.ndam = points, ndam
        self.found: dict[str, dict[str, ShownPoint]] = {}
        self.sizes: dict[str, dict[str, tuple[int, int]]] = {}

    def reads(self, study: Study, subject: Subject) -> Reading | None:
        """Return the attention at every point, at the size of the map and, for the distance, of the pair."""
        if self.layers is not None:
            return self.layers.reads(study, subject)
        if self.ndam and study.teacher is None:
            raise ConfigError(f"{study.config.path}: --ndam is of a teacher; the config has no models.teacher_model")
        if self.ndam and subject is not study.teacher:
            return None
        places = {}
        for name, point in self._points(subject).items():
            place = (point.path, point.io)
            places[name] = (place, self._settings(point) if self.ndam else _attention(point))
            for size in self._pair_sizes(study, subject, name):
                places[f"{name} {size}"] = (place, _attention(point, size))
        return Reading(places)

    def _points(self, subject: Subject) -> dict[str, ShownPoint]:
        """Return the points to show by name, in the order of the network."""
        if subject.name not in self.found:
            found = {name: subject.point(name) for name in self.points or stage_names(subject)}
            with torch.inference_mode(False):
                images = probe_images(subject.inside, subject.size)
                tensors = capture(subject.inside, images, {(point.path, point.io) for point in found.values()})
            maps = {name: point.as_map(tensors[point.path, point.io]) for name, point in found.items()}
            self.sizes[subject.name] = {name: (x.shape[2], x.shape[3]) for name, x in maps.items()}
            self.found[subject.name] = found
        return self.found[subject.name]

    def _pair_sizes(self, study: Study, subject: Subject, name: str) -> set[tuple[int, int]]:
        """Return the sizes at which a point is compared, each the smaller of a pair."""
        if study.teacher is None or self.ndam:
            return set()
        students = study.students if subject is study.teacher else [subject]
        for one in (study.teacher, *students):
            self._points(one)
        found = set()
        for student in students:
            for a, b, size in self._pairs(student.name):
                if name == (b if subject is study.teacher else a):
                    found.add(size)
        return found

    def _pairs(self, student: str) -> list[tuple[str, str, tuple[int, int]]]:
        """Return the student's and the teacher's point of every pair, and the smaller of their sizes."""
        own, other = self.sizes[student], self.sizes[TEACHER]
        pairs = aligned(list(own), list(other))
        return [(a, b, (min(own[a][0], other[b][0]), min(own[a][1], other[b][1]))) for a, b in pairs]

    def _settings(self, point: ShownPoint) -> Callable[[Any], Tensor]:
        def reduce(tensor: Any) -> Tensor:
            features = point.as_map(tensor)
            maps = [activation_map(features, absolute=g, mean_weight=a, max_weight=b) for g, a, b in NDAM]
            return torch.stack([attention_map(features), *maps], dim=1)

        return reduce

    def compute(self, study: Study) -> dict[str, Any]:
        """Return ``points`` of the models, ``distance`` of the pairs, and the ``shown`` images with their maps."""
        if self.layers is not None:
            return self.layers.compute(study)
        most = SHOWN_NDAM if self.ndam else SHOWN
        rows = first_of_classes(study.found.labels, most)
        shown = study.shown(rows)
        if self.ndam:
            name = list(self.sizes[TEACHER])[-1]
            maps = study.found.of(self.name, TEACHER, name)[rows].unbind(1)
            settings = [f"{'abs' if absolute else 'no abs'}, {a:g}, {b:g}" for absolute, a, b in NDAM]
            shown_maps = {"attention": unit_norm(maps[0]), **dict(zip(settings, maps[1:], strict=True))}
            return {"ndam": True, "points": {TEACHER: [name]}, "shown": {**shown, "maps": {TEACHER: shown_maps}}}
        points = {one.name: list(self.sizes[one.name]) for one in study.subjects}
        maps_of = {
            name: {point: unit_norm(study.found.of(self.name, name, point)[rows]) for point in own}
            for name, own in points.items()
        }
        result: dict[str, Any] = {"ndam": False, "points": points, "shown": {**shown, "maps": maps_of}}
        if study.teacher is not None:
            result["distance"] = {one.name: self._distances(study, one.name) for one in study.students}
        return result

    def _distances(self, study: Study, student: str) -> list[dict[str, Any]]:
        found = []
        for a, b, size in self._pairs(student):
            maps = [study.found.of(self.name, n, f"{point} {size}") for n, point in ((student, a), (TEACHER, b))]
            q_s, q_t = (unit_norm(x) for x in maps)
            found.append({"student": a, "teacher": b, "distance": F.mse_loss(q_s, q_t)})
        return found

    def table(self, result: Mapping[str, Any]) -> list[str]:
        """Return a row per pair of points and student."""
        if "layer_distance" in result:
            return distance_table(result)
        if result["ndam"]:
            return [f"the teacher's {result['points'][TEACHER][0]} in the settings (abs, a, b) of LAKD's Table 5"]
        if "distance" not in result:
            return [f"{name}: {', '.join(points)}" for name, points in result["points"].items()]
        rows = [["student's point", "teacher's point", *result["distance"]]]
        rows += [
            [pairs[0]["student"], pairs[0]["teacher"], *(f"{1000 * one['distance']:.3f}" for one in pairs)]
            for pairs in zip(*result["distance"].values(), strict=True)
        ]
        lines = text_table(rows, left=(0, 1))
        return [*lines, "AT distance x 1000: mean squared difference of the maps at unit length"]

    def draw(self, result: Mapping[str, Any], study: Study) -> Any:
        """Return a row per image and model, and a column per point."""
        if "layer_distance" in result:
            return distance_bars(result)
        shown = result["shown"]
        images = shown_images(study, shown["images"])
        heads = [f"{label} (image {number})" for label, number in zip(shown["labels"], shown["images"], strict=True)]
        names = list(shown["maps"])
        rows = [(image, name) for image in range(len(images)) for name in names]
        titles = [heads[image] if result["ndam"] else f"{heads[image]}\n{name}" for image, name in rows]
        columns = max((list(maps) for maps in shown["maps"].values()), key=len)
        cells: dict[str, list[Tensor | None]] = {}
        for place, column in enumerate(columns):
            of_rows = []
            for image, name in rows:
                own = list(shown["maps"][name].values())
                fits = place < len(own)
                of_rows.append(unit_range(torch.tensor(own[place][image])[None])[0] if fits else None)
            cells[column] = of_rows
        label = "attention, each map scaled to 0 to 1"
        figure = map_grid(images[[image for image, _ in rows]], titles, cells, label=label)
        point = result["points"].get(TEACHER, [""])[0]
        title = f"Activity of the teacher's {point} (abs, a, b)" if result["ndam"] else "Attention maps"
        add_title(figure, result, title)
        return figure


def stage_names(subject: Subject) -> list[str]:
    """Return the names of the ends of the stages.

    Raises:
        ConfigError: if they are unknown.
    """
    with torch.inference_mode(False):
        names = [point.name for point in feature_points(subject.inside, input_size=subject.size)]
    found = [name for name in names if STAGE.fullmatch(name)]
    if not found:
        raise ConfigError(f"the stages of {subject.title} are unknown: add --points, such as --points last_map")
    return found


def aligned(own: Sequence[str], other: Sequence[str]) -> list[tuple[str, str]]:
    """Return each of a student's points with the teacher's at the same relative place.

    Example:
        >>> aligned(["stage1", "stage2", "stage3"], ["stage1", "stage2", "stage3", "stage4"])
        [('stage1', 'stage2'), ('stage2', 'stage3'), ('stage3', 'stage4')]
    """
    return [(name, other[-(-number * len(other) // len(own)) - 1]) for number, name in enumerate(own, start=1)]


def unit_norm(maps: Tensor) -> Tensor:
    """Return maps (N, H, W) of unit length each."""
    return F.normalize(maps.flatten(1), dim=1).unflatten(1, maps.shape[1:])


def _attention(point: ShownPoint, size: tuple[int, int] | None = None) -> Callable[[Any], Tensor]:
    def reduce(tensor: Any) -> Tensor:
        features = point.as_map(tensor)
        return attention_map(features if size is None else average_pool(features, size))

    return reduce
