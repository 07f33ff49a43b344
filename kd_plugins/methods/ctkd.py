"""CTKD: a temperature that is learned against the student."""

from __future__ import annotations

from ..pairs.setting import Setting, Term
from ._record import Loss, Method, Part, Reads


def _learned(method: Method, setting: Setting) -> list[Term]:
    """Return a term at the temperature that the student's wrapper learns."""
    kwargs = {"level": "global", **method.student_values(setting)}
    if kwargs["level"] == "instance":
        kwargs["num_classes"] = setting.classes
    setting.student.wrap("CTKDStudent", kwargs, of=method.title)
    setting.student.hook("temperature")
    return [method.term(setting)]


METHOD = Method(
    name="ctkd",
    title="CTKD",
    paper="CTKD, Li et al., AAAI 2023",
    summary="KD at a temperature that is learned against the student",
    losses=[
        Loss(
            "kd_plugins.losses.ctkd:CTKDLoss",
            "KD at the temperature of CTKDStudent",
            Reads(
                student_tensors=["temperature"],
                requires={
                    "student.auxiliary_model_wrapper": "{key: CTKDStudent, kwargs: {level: global}}",
                    "student.forward_hook": "{output: [temperature]}",
                },
            ),
        )
    ],
    parts=[
        Part(
            "model-wrappers",
            "kd_plugins.host.students.ctkd:CTKDStudent",
            "a temperature that is learned with the student",
        )
    ],
    weight=0.9,
    ce=0.1,
    source=(
        "One temperature for all samples, learned with the student; weights: those of CTKD (Li et al., AAAI 2023)."
    ),
    standardized=(
        {"weight": 9.0},
        "One temperature for all samples, learned with the student, is the base temperature. Weights: those of LSKD "
        "(Sun et al., CVPR 2024){for_pair}.",
    ),
    student_keywords={
        "level": "global",
        "hidden": 128,
        "initial": 1.0,
        "low": 1.0,
        "spread": 20.0,
        "lambda_max": 0.0,
        "lambda_min": -1.0,
        "loops": 10.0,
    },
    choices={"level": ("global", "instance")},
    build=_learned,
    in_epochs=("loops",),
    on_logits=True,
    configs=("", "_ls"),
    demo=True,
)
