"""ReviewKD: levels of features, fused from the deepest on."""

from __future__ import annotations

from ..pairs.setting import Setting, Term
from ..pairs.sides import aligned_stages
from ._features import BOTH, paths
from ._record import Loss, Method, Part, Reads


def _levels(method: Method, setting: Setting) -> list[Term]:
    """Return a term for every stage and for the pooled features, fused from the deepest on."""
    terms = []
    for at, target in [*aligned_stages(*setting.models), ("pooled", "pooled")]:
        student = method.regressed(setting, at, target, key="ReviewStudent", mid_channels=256)
        reads = paths(student, setting.teacher.map_at(target), default_io=True)
        terms.append(method.term(setting, reads, name=f"{method.name}_{at}"))
    return terms


METHOD = Method(
    name="reviewkd",
    title="ReviewKD",
    paper="ReviewKD, Chen et al., CVPR 2021",
    summary="fused levels of features (torchdistill's loss)",
    losses=[
        Loss(
            "kd_plugins.losses.pyramid:PyramidLoss",
            "levels of a feature pyramid, for detectors",
            Reads("feature_lists"),
            {"student_module_path": ["layer"], "teacher_module_path": ["layer"], "output_sizes": [2, 1]},
        )
    ],
    parts=[
        Part(
            "model-wrappers",
            "kd_plugins.host.students.review:ReviewStudent",
            "fused levels, for HierarchicalContextLoss",
        )
    ],
    criterion="HierarchicalContextLoss",
    values={"reduction": "mean", "output_sizes": [4, 2, 1]},
    student_keywords={"mid_channels": 256},
    weight=5.0,
    source=(
        "Weight: 5 a level, the public one of ReviewKD (Chen et al., CVPR 2021) for resnet32x4 -> resnet8x4, without "
        "its warm-up; SFKD's Table 9 has none."
    ),
    build=_levels,
    configs=BOTH,
)
