"""AT: where feature maps are active."""

from __future__ import annotations

from ..pairs.setting import Setting, Term
from ..pairs.sides import aligned_stages
from ._features import BOTH, OTHER_CHANNELS, WEIGHT, pair, paths
from ._record import FEATURES, Loss, Method


def _attention(method: Method, setting: Setting) -> list[Term]:
    """Return terms on the maps of all stages: one of torchdistill's loss if their sizes are equal, else ours."""
    student, teacher = setting.student, setting.teacher
    stages = aligned_stages(*setting.models)
    # torchdistill's loss has no such keywords.
    alike = not set(method.keywords) & set(setting.values) and all(
        student.map_size(student.model.point(name)) == teacher.map_size(teacher.model.point(target))
        for name, target in stages
    )
    places = [(name, student.map_at(name), teacher.map_at(target)) for name, target in stages]
    if alike:
        values, weight = method.hyperparameters(setting.values)
        pairs = {name: pair(own, theirs) for name, own, theirs in places}
        term = Term(method.name, "ATLoss", {"mode": "code", "at_pairs": pairs, **values}, weight)
        return [method.with_mask(term, setting, masked="")]
    return [method.term(setting, paths(own, theirs), name=f"{method.name}_{name}") for name, own, theirs in places]


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
        )
    ],
    keywords={"power": 2.0, "form": "mean_squared", "beta": 1.0, "p": 2.0},
    choices={"form": ("mean_squared", "norm")},
    weight=1000.0,
    source=WEIGHT.format(paper="AT (Zagoruyko and Komodakis, ICLR 2017) after CRD's code; the maps of every stage"),
    build=_attention,
    masked="SFKDAttentionLoss",
    configs=BOTH,
)
