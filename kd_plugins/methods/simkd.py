"""SimKD: a student that ends in its teacher's classifier."""

from __future__ import annotations

from ..pairs.setting import Setting, Term
from ._features import BOTH, SAME_CHANNELS, WEIGHT, paths
from ._record import FEATURES, Loss, Method, Part


def _classifier(method: Method, setting: Setting) -> list[Term]:
    """Return a term on the student's projected last map, which the teacher's classifier takes."""
    student, teacher = setting.models
    lent = {**teacher.section(setting.classes), "src_ckpt": setting.weights}
    if setting.weights is None:
        pretrained = {"model_name": teacher.pretrained, "pretrained": True, "num_classes": setting.classes}
        lent = {"key": teacher.key, "kwargs": pretrained}
    kwargs: dict[str, object] = {"student": student.section(setting.classes), "teacher": lent}
    target = "last_map" if teacher.pools_last_map else "pooled"
    if not teacher.pools_last_map:
        kwargs["teacher_point"] = target
    kwargs |= {**setting.student.probed(), **method.student_values(setting)}
    setting.student_model = {"key": "simkd_student", "kwargs": kwargs}
    return [method.term(setting, paths(setting.student.hook("projector"), setting.teacher.map_at(target)))]


METHOD = Method(
    name="simkd",
    title="SimKD",
    paper="SimKD, Chen et al., CVPR 2022",
    summary="a projector and the teacher's classifier in the student",
    losses=[
        Loss(
            "kd_plugins.losses.simkd:SimKDLoss",
            "projected feature into the teacher's classifier",
            FEATURES,
            SAME_CHANNELS,
        )
    ],
    parts=[Part("models", "kd_plugins.models:simkd_student", "a student that ends in its teacher's classifier")],
    student_keywords={"reduction": 2},
    weight=1.0,
    ce=0.0,
    source=WEIGHT.format(
        paper="SimKD (Chen et al., CVPR 2022), with no cross-entropy; the student ends in the teacher's classifier"
    ),
    build=_classifier,
    configs=BOTH,
)
