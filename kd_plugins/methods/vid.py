"""VID: the teacher's features, predicted with a variance."""

from __future__ import annotations

import dataclasses

from ..pairs.setting import Setting, Term
from ..pairs.sides import aligned_stages
from ._features import BOTH, WEIGHT, pair
from ._record import Loss, Method, Part


def _predicted(method: Method, setting: Setting) -> list[Term]:
    """Return a term that predicts the teacher's stages; our loss pools the teacher's maps if one is larger."""
    pairs, larger = {}, False
    sides = (setting.student, setting.teacher)
    for at, target in aligned_stages(*setting.models):
        own, theirs = (
            side.map_size(side.model.point(name)) or 1 for side, name in zip(sides, (at, target), strict=True)
        )
        larger = larger or theirs > own
        student = method.regressed(setting, at, target, key="VIDStudent")
        pairs[at] = pair(student, setting.teacher.map_at(target))
    method = dataclasses.replace(method, criterion="PooledVIDLoss") if larger else method
    return [method.term(setting, {"feature_pairs": pairs})]


METHOD = Method(
    name="vid",
    title="VID",
    paper="VID, Ahn et al., CVPR 2019",
    summary="the teacher's features, predicted with a variance (torchdistill's loss)",
    losses=[
        Loss(
            "kd_plugins.host.losses.pooled_vid:PooledVIDLoss",
            "VIDLoss with larger maps of the teacher pooled",
            None,
            {
                "feature_pairs": {
                    "one": {
                        "student": {"path": "regressed", "io": "output"},
                        "teacher": {"path": "six", "io": "output"},
                    }
                }
            },
        )
    ],
    parts=[
        Part("model-wrappers", "kd_plugins.host.students.vid:VIDStudent", "regressors with a variance, for VIDLoss")
    ],
    criterion="VIDLoss",
    student_keywords={"initial_variance": 5.0, "eps": 0.00001},
    weight=1.0,
    source=WEIGHT.format(paper="VID (Ahn et al., CVPR 2019) after CRD's code; every stage"),
    build=_predicted,
    configs=BOTH,
)
