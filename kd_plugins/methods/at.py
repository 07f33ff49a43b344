"""AT: where feature maps are active."""

from __future__ import annotations

from ..pairs.setting import Setting, Term
from ..pairs.sides import aligned_stages
from ._features import BOTH, OTHER_CHANNELS, WEIGHT, pair, paths
from ._record import FEATURES, Loss, Method


def _attention(method: Method, setting: Setting) -> list[Term]:
    """Compare the maps of every stage: by torchdistill's loss where they have one size, by ours elsewhere."""
    stages = aligned_stages(*setting.models)
    sides = (setting.student, setting.teacher)
    points = [[side.model.point(name) for side, name in zip(sides, names, strict=True)] for names in stages]
    alike = all(setting.student.map_size(a) == setting.teacher.map_size(b) for a, b in points)
    places = [(name, setting.student.map_at(name), setting.teacher.map_at(target)) for name, target in stages]
    if alike:
        values, weight = method.hyperparameters(setting.values)
        pairs = {name: pair(student, teacher) for name, student, teacher in places}
        term = Term(method.name, "ATLoss", {"mode": "code", "at_pairs": pairs, **values}, weight)
        return [method.with_mask(term, setting, masked="")]
    return [
        method.term(setting, paths(student, teacher), name=f"{method.name}_{name}") for name, student, teacher in places
    ]


METHOD = Method(
    name="at",
    title="AT",
    paper="AT, Zagoruyko and Komodakis, ICLR 2017",
    summary="where the feature maps of every stage are active",
    losses=[
        Loss(
            "kd_plugins.losses.at:AttentionTransferLoss",
            "where feature maps are active",
            FEATURES,
            {**OTHER_CHANNELS, "power": 3, "form": "norm", "beta": 2.0, "p": 1.5},
        ),
    ],
    weight=1000.0,
    ce=1.0,
    source=WEIGHT.format(paper="AT (Zagoruyko and Komodakis, ICLR 2017) after CRD's code; the maps of every stage"),
    build=_attention,
    masked="SFKDAttentionLoss",
    configs=BOTH,
)
