"""letKD: KD layers in the student, supervised by the clusters of the teacher's features."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..pairs.models import Point
from ..pairs.setting import Setting, Term
from ._features import paths
from ._record import Method

PENULTIMATE, INTERMEDIATE = "penultimate", "intermediate"
COMPONENTS = 60
AUTO = "auto"
PAPER_SCALE, SCALE_A_STEP = 3.0, 0.9 / 384
POSITIONS = 4
"""Least number of positions of the teacher's maps per cluster, on average."""


def letkd_terms(method: Method, setting: Setting) -> list[Term]:
    """Add a layer after the last map, and for letKD-2 another after the first block of the last stage."""
    if setting.student_model is not None:
        raise ValueError(f"{method.title} and a method that builds the student in its own way cannot be added")
    values, weight = method.hyperparameters(setting.values)
    kinds = [PENULTIMATE, *([INTERMEDIATE] if "alpha_intermediate" in values else [])]
    layers, terms, scales = [], [], {}
    for kind in kinds:
        own, target = _point(setting.student.model, kind), _point(setting.teacher.model, kind)
        place: dict[str, Any] = {"point": kind}
        if kind == INTERMEDIATE and setting.student.model.single_block and setting.dataset not in method.tabled:
            own = setting.student.model.point(setting.student.model.stages[-2])
            place = {"name": kind, "point": own.name}
            setting.top.append(EARLIER)
        sizes = [side.map_size(point) for side, point in ((setting.student, own), (setting.teacher, target))]
        known = [size for size in sizes if size is not None]
        count = _counts(kind, setting, values, positions=setting.images * min(known, default=0) ** 2)
        scores = count.get("num_centres") or count["subclasses"] * setting.classes
        layer = {**place, "num_scores": scores, "alpha": values[f"alpha_{kind}"]}
        scales[kind] = initial_scale(scores, setting.steps)
        more = method.student_values(setting)
        automatic = setting.shortened and scales[kind] != PAPER_SCALE
        if more.get("score_scale", AUTO if automatic else None) == AUTO:
            more["score_scale"] = scales[kind]
        layers.append(layer | more)
        reads = paths(setting.student.hook(f"kd_layer.{kind}.scores"), setting.teacher.map_of(target))
        kwargs = {"kind": kind, "statistics": values["statistics"], **reads, **count}
        if "sharpness" in values:
            kwargs["sharpness"] = values["sharpness"]
        if len(known) == 2 and known[0] < known[1]:
            kwargs["map_size"] = known[0]
        terms.append(Term(f"{method.name}_{kind}", method.key, kwargs, weight))
    student = setting.student.model.section(setting.classes)
    built = {"student": student, "layers": layers, **setting.student.probed()}
    setting.student_model = {"key": "letkd_student", "kwargs": built}
    if INTERMEDIATE in kinds and any(side.name.startswith("vgg") for side in setting.models):
        setting.top.append(VGG)
    setting.top.append(FIT)
    setting.top += _about_scales(scales, setting)
    return terms


def initial_scale(num_scores: int, steps: int) -> float:
    r"""Return the score scale from which a KD layer begins: the paper's 3 where the training can learn another.

    A score is :math:`\sigma \cos`, so the softmax over K scores is bounded by :math:`\sigma`. At
    :math:`\sigma = \log(9 (K - 1))`, a cosine of 1 with the right centre and of 0 with the others gives it the
    probability 0.9. :math:`\sigma` is learned, but slowly: it went from 3 to 3.9 in 384 steps. If a tenth of the steps
    is enough to reach that value at this rate, the layer begins at 3, else at that value.

    Args:
        num_scores: K.
        steps: number of training steps; 0 if unknown.

    Example:
        >>> initial_scale(4096, 240 * 782), initial_scale(4096, 192), initial_scale(80, 192)
        (3.0, 10.51, 6.57)
    """
    needed = math.log(9 * max(num_scores - 1, 1))
    if not steps or needed <= PAPER_SCALE or (needed - PAPER_SCALE) / SCALE_A_STEP <= steps / 10:
        return PAPER_SCALE
    return round(needed, 2)


def _about_scales(scales: Mapping[str, float], setting: Setting) -> list[str]:
    """Return a sentence about the initial score scales of a short training."""
    changed = {kind: scale for kind, scale in scales.items() if scale != PAPER_SCALE}
    asked = setting.values.get("score_scale")
    if changed and (asked == AUTO or (asked is None and setting.shortened)):
        listed = " and ".join(f"{scale:g} ({kind})" for kind, scale in changed.items())
        return [
            f"score_scale is {listed}, not the paper's {PAPER_SCALE:g}, which {setting.steps} steps hardly change: a "
            "cosine of 1 with the right centre and of 0 with the others then gives it the probability 0.9."
        ]
    if asked == AUTO:
        return [f"score_scale is the paper's {PAPER_SCALE:g}: {setting.steps} steps are enough to learn another."]
    return []


FIT = (
    "The teacher's clusters are fitted at the beginning of the training, or before it, once for several seeds: "
    "kd-plugins fit THIS.yaml --out FILE, and statistics: FILE below."
)

EARLIER = (
    "The student's last stage is a single block, whose output is the last map already: the intermediate layer is "
    "behind the stage before."
)

VGG = (
    "No letKD-2 with a VGG is published. Its intermediate layer is behind the first convolution, norm and ReLU of the "
    "last stage; in vgg8, whose last stage ends there, it is behind the stage before."
)


def _counts(kind: str, setting: Setting, values: dict[str, Any], *, positions: int) -> dict[str, Any]:
    """Return the numbers of centres, or of sub-classes and directions; ``positions`` is 0 if unknown."""
    name, groups = ("num_centres", 1) if kind == PENULTIMATE else ("subclasses", setting.classes)
    if positions and name not in setting.given:
        fitting = fitting_clusters(values[name], positions // groups)
        if fitting != values[name]:
            each = "" if groups == 1 else " a class"
            setting.top.append(
                f"{name} is {fitting}, not {values[name]}: it is halved until the teacher's maps of the "
                f"{setting.images} images, {positions // groups} positions{each}, have {POSITIONS} for each."
            )
            values = {**values, name: fitting}
    if kind == PENULTIMATE:
        return {"num_centres": values["num_centres"]}
    channels = _point(setting.teacher.model, kind).channels
    counts = {"subclasses": values["subclasses"], "components": min(COMPONENTS, setting.classes - 1, channels)}
    return counts | {name: values[name] for name in ("components", "pca") if name in values}


def _point(model: Any, kind: str) -> Point:
    return model.point("last_map") if kind == PENULTIMATE else model.intermediate


def fitting_clusters(clusters: int, positions: int) -> int:
    """Halve a number of clusters until the positions suffice.

    Example:
        >>> fitting_clusters(4096, 10**6), fitting_clusters(4096, 4000), fitting_clusters(8, 1)
        (4096, 512, 1)
    """
    while clusters > 1 and clusters * POSITIONS > positions:
        clusters //= 2
    return clusters


ROW: dict[str, Any] = {"num_centres": 4096, "alpha_penultimate": 1.0, "statistics": "auto"}
SOURCE = (
    "Centres{and_more} and alpha: those of letKD (BMVC 2023){{for_pair}}. Larger maps of the teacher are averaged to "
    "the student's size."
)
COMMON: dict[str, Any] = {
    "paper": "letKD, BMVC 2023",
    "criterion": "LetKDLoss",
    "weight": 1.0,
    "keywords": {"sharpness": 1.0},
    "automatic": ("score_scale",),
    "student_keywords": {"score_scale": 3.0, "output_scale": 1.0},
    "one_setting": True,
    "schedule": "cifar_step_letkd",
    "imagenet_schedule": "imagenet_step_letkd",
    "build": letkd_terms,
    "maskable": False,
    "not_transformable": "learns clusters of the teacher's features as they are",
    "configs": (),
    "tabled": ("cifar100", "tiny-imagenet", "imagenet"),
    "demo": True,
}
"""Fields that both records share."""
