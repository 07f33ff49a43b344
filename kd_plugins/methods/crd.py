"""CRD: contrast between a sample and many samples in a memory."""

from __future__ import annotations

from ..pairs.setting import Setting, Term
from ._features import BOTH, WEIGHT
from ._record import Method, Part


def _contrast(method: Method, setting: Setting) -> list[Term]:
    """Return the term on projected features; the loader draws the negative samples."""
    if not setting.images:
        raise ValueError(f"crd needs the labels of the whole training set, which a part of {setting.dataset} lacks")
    student = method.regressed(setting, "pooled", "pooled", key="ProjectedStudent", dim=128)
    teacher = setting.teacher.projected("pooled")
    setting.student.forward = "forward_batch_supp_dict"
    setting.student.hook("supplement", "input")
    drawn = {"num_negative_samples": min(16384, setting.images // 2)}
    wrapper = {**drawn, "mode": "exact", "ratio": 1.0}
    setting.loader["dataset_wrapper"] = {"key": "CRDDatasetWrapper", "kwargs": wrapper}
    reads = {
        "student_norm_module_path": student[0],
        "student_empty_module_path": "supplement",
        "teacher_norm_module_path": teacher[0],
        "input_size": 128,
        "output_size": setting.images,
        "num_samples": setting.images,
        **drawn,
    }
    return [method.term(setting, reads)]


METHOD = Method(
    name="crd",
    title="CRD",
    paper="CRD, Tian et al., ICLR 2020",
    summary="a sample told apart from many in a memory (torchdistill's loss)",
    parts=[
        Part(
            "model-wrappers",
            "kd_plugins.host.students.projected:ProjectedStudent",
            "projections, for CorrelationLoss, CRDLoss",
        ),
        Part(
            "model-wrappers",
            "kd_plugins.host.students.projected:ProjectedTeacher",
            "teacher behind the student's projections",
        ),
    ],
    criterion="CRDLoss",
    values={"temperature": 0.07, "momentum": 0.5, "eps": 0.0000001},
    student_keywords={"normalize": True},
    weight=0.9,
    source=WEIGHT.format(paper="CRD (Tian et al., ICLR 2020), whose other settings these are; the pooled features"),
    build=_contrast,
    configs=BOTH,
)
