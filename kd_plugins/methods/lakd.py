"""LAKD: a student whose modules learn locally."""

from __future__ import annotations

from ..pairs.marks import Noted
from ..pairs.models import Model
from ..pairs.setting import Setting, Term
from ._record import Loss, Method, Part, Reads

SHOWN = ("local_losses", "class_maps.student", "class_maps.teacher")
BY_STAGES = ("plain", "shifted")
"""Cuts with one module per stage of the student."""


def _lakd(method: Method, setting: Setting) -> list[Term]:
    """Cut the student after the first block of each stage and after its last block."""
    values, weight = method.hyperparameters(setting.values)
    kwargs = {name: values.pop(name, default) for name, default in (("cuts", "shifted"), ("teacher", "stage_ends"))}
    student, teacher = setting.models
    for model in setting.models:
        model.need_points()
    channels = values.pop("teacher_channels", None)
    if "teacher_channels" not in setting.given:
        if "cuts" in setting.given and kwargs["cuts"] not in BY_STAGES:
            channels = (
                None  # the table does not have the student's blocks; LAKDStudent names the channels if they differ
            )
        elif channels is None:
            channels = _teacher_channels(setting)
        else:  # the row of the nearest pair may have another teacher
            channels = [teacher.point(stage).channels for stage in teacher.stages]
    if channels is not None:
        kwargs["teacher_channels"] = channels
    kwargs |= {name: values.pop(name) for name in ("absolute", "mean_weight", "max_weight")}
    kwargs |= {name: values.pop(name) for name in ("attention_from", "class_map_size") if name in values}
    # On ImageNet, several processes are usual.
    kwargs["backward"] = values.pop("backward", "joint" if setting.dataset == "imagenet" else "eager")
    eager = kwargs["backward"] == "eager"
    kwargs |= setting.student.probed()
    noted = Noted(kwargs, {"backward": "joint under several processes"}) if eager else kwargs
    setting.student.wrap("LAKDStudent", noted, of=method.title)
    for path in SHOWN:
        setting.student.hook(path)
    own, theirs = len(student.stages), len(teacher.stages)
    if own != theirs and kwargs["teacher"] == "stage_ends" and kwargs["cuts"] in BY_STAGES:
        setting.top.append(
            f"{student.title} has {own} stages and {teacher.title} {theirs}: the student's hear those of the teacher "
            f"that end at the same share of the depth, {', '.join(heard_stages(student, teacher))}."
        )
    alike = student.name.rstrip("0123456789x_") == teacher.name.rstrip("0123456789x_")
    return [Term(method.name, method.key, {**values, "normalize": values.get("normalize", not alike)}, weight)]


def heard_stages(student: Model, teacher: Model) -> list[str]:
    """Return the teacher's stage from which each stage of the student learns, by the rule of ``LAKDStudent``.

    Example:
        >>> from kd_plugins.pairs.models import find_model
        >>> wrn, mobile = (find_model(name, family="cifar") for name in ("wrn_40_2", "mobilenetv2"))
        >>> heard_stages(mobile, wrn)
        ['stage1', 'stage2', 'stage3', 'stage3']
    """
    own, theirs = len(student.stages), len(teacher.stages)
    # The teacher's stage that reaches the fraction n / own of its depth.
    return [teacher.stages[-(-number * theirs // own) - 1] for number in range(1, own + 1)]


def _teacher_channels(setting: Setting) -> list[int] | None:
    """Return the channels of the teacher's stages for ``LAKDStudent``; None if the defaults fit."""
    student, teacher = setting.models
    own = [student.point(name).channels for name in student.stages]
    heard = [teacher.point(name).channels for name in heard_stages(student, teacher)]
    return None if own == heard and len(own) == len(teacher.stages) else heard


METHOD = Method(
    name="lakd",
    title="LAKD",
    paper="LAKD, Zhang et al., 2024",
    summary="modules that learn locally, with attention, and free their memory at once",
    losses=[
        Loss(
            "kd_plugins.losses.lakd:LAKDLoss",
            "local feature losses of LAKDStudent and class attention",
            Reads(
                "student_tensors",
                student_tensors=SHOWN,
                requires={
                    "student.auxiliary_model_wrapper": "{key: LAKDStudent, kwargs: {cuts: shifted}}",
                    "student.forward_hook": f"{{output: [{', '.join(SHOWN)}]}}",
                },
            ),
            {"alpha": 0.4, "beta": 2.0, "normalize": False},
        )
    ],
    parts=[
        Part("model-wrappers", "kd_plugins.host.lakd.student:LAKDStudent", "modules that learn locally, with attention")
    ],
    values={"absolute": True, "mean_weight": 0.25, "max_weight": 0.75, "alpha": 0.5, "beta": 1.0},
    weight=1.0,
    ce=0.5,
    source=(
        "Cuts, alignment and attention: those of LAKD (Zhang et al., 2024). Its weights are not published: alpha 0.5, "
        "which the cross-entropy has, beta 1; class maps of 2x2, normalised for pairs of two families only."
    ),
    ce_from="alpha",
    ce_note="alpha of Eq. (6), as in the term below",
    one_setting=True,
    schedule="cifar_linear_lakd",
    imagenet_schedule="imagenet_linear_lakd",
    options=("cuts", "teacher", "teacher_channels", "attention_from", "class_map_size", "normalize", "backward"),
    choices={"backward": ("joint", "eager")},
    build=_lakd,
    maskable=False,
    not_transformable="reads the student's own losses and class maps",
    configs=(),
    tabled=("cifar100", "imagenet"),
    demo=True,
)
