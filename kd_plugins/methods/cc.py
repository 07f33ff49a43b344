"""CC: how features differ between neighbours of a batch."""

from __future__ import annotations

from ..pairs.setting import Setting, Term
from ._features import BOTH, WEIGHT, paths
from ._record import Loss, Method, Reads


def _projected(method: Method, setting: Setting) -> list[Term]:
    """Return a term on learned projections of the pooled features."""
    student = method.regressed(setting, "pooled", "pooled", key="ProjectedStudent", dim=128, normalize=False)
    return [method.term(setting, paths(student, setting.teacher.projected("pooled")))]


METHOD = Method(
    name="cc",
    title="CC",
    paper="CC, Peng et al., ICCV 2019",
    summary="how projected features differ between neighbours of a batch",
    losses=[
        Loss(
            "kd_plugins.losses.cc:CorrelationLoss",
            "differences at neighbours of a batch",
            Reads(
                "features",
                requires={
                    "teacher.auxiliary_model_wrapper": "{key: ProjectedTeacher, kwargs: {points: [pooled]}}",
                    "student.auxiliary_model_wrapper": (
                        "{key: ProjectedStudent, kwargs: {pairs: [{student: pooled, channels: 256}]}}"
                    ),
                },
            ),
            {"student_module_path": ".", "teacher_module_path": "."},
        )
    ],
    student_keywords={"dim": 128, "normalize": False},
    weight=0.02,
    source=WEIGHT.format(paper="CC (Peng et al., ICCV 2019) after CRD's code; the pooled features, projected"),
    build=_projected,
    configs=BOTH,
)
