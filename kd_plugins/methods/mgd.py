"""MGD: the teacher's last map, generated from a masked one of the student."""

from __future__ import annotations

from ..pairs.setting import Setting, Term
from ._features import SAME_CHANNELS, paths
from ._record import FEATURES, Loss, Method, Part


def _generated(method: Method, setting: Setting) -> list[Term]:
    """Return a term on the last maps, the student's behind a trained generator."""
    regressor = {"key": "MaskedGenerator", "kwargs": {"mask_ratio": 0.15, **method.student_values(setting)}}
    student = setting.student.regressed("last_map", setting.teacher, "last_map", of=method.title, regressor=regressor)
    return [method.term(setting, paths(student, setting.teacher.map_at("last_map")))]


METHOD = Method(
    name="mgd",
    title="MGD",
    paper="MGD, Yang et al., ECCV 2022",
    summary="the teacher's last map, generated from a masked one of the student",
    losses=[Loss("kd_plugins.losses.mgd:MGDLoss", "distance of a generated map", FEATURES, SAME_CHANNELS)],
    parts=[
        Part(
            "regressors",
            "kd_plugins.modules.masked_generator:MaskedGenerator",
            "fills in a map of which random channels are zero",
        )
    ],
    student_keywords={"mask_ratio": 0.15},
    weight=0.00007,
    source="Weight and share of masked channels: those of MGD (Yang et al., ECCV 2022) on ImageNet; the last maps.",
    build=_generated,
)
