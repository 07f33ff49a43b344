"""LAKD: a student whose modules learn locally."""

from __future__ import annotations

from ..sides import Side
from ..text import Noted
from .method import Method, Setting, Term

SHOWN = ("local_losses", "class_maps.student", "class_maps.teacher")


def _lakd(method: Method, setting: Setting) -> list[Term]:
    """Cut the student after its stages' first blocks, and its last."""
    values, weight = method.hyperparameters(setting.values)
    kwargs = {name: values.pop(name, default) for name, default in (("cuts", "shifted"), ("teacher", "stage_ends"))}
    channels = values.pop("teacher_channels", None) or _teacher_channels(setting)
    if channels is not None:
        kwargs["teacher_channels"] = channels
    kwargs |= {name: values.pop(name) for name in ("absolute", "mean_weight", "max_weight")}
    kwargs |= {name: values.pop(name) for name in ("attention_from", "class_map_size") if name in values}
    # On ImageNet several processes are the rule.
    kwargs["backward"] = values.pop("backward", "joint" if setting.dataset == "imagenet" else "eager")
    eager = kwargs["backward"] == "eager"
    if setting.student.image_size != setting.student.model.input_size:
        kwargs["probe_size"] = setting.student.image_size
    noted = Noted(kwargs, {"backward": "joint under several processes"}) if eager else kwargs
    setting.student.wrap("LAKDStudent", noted, of=method.title)
    for path in SHOWN:
        setting.student.hook(path)
    student, teacher = setting.models
    alike = student.name.rstrip("0123456789x_") == teacher.name.rstrip("0123456789x_")
    return [Term(method.name, method.criterion, {**values, "normalize": values.get("normalize", not alike)}, weight)]


def _teacher_channels(setting: Setting) -> list[int] | None:
    """Return the channels of the teacher's stages, where the student's are others.

    Raises:
        ValueError: when it has another number of stages, of different widths.
    """
    widths = [_widths(side) for side in (setting.student, setting.teacher)]
    own, target = widths
    if len(own) == len(target):
        return None if own == target else target
    if len(set(target)) == 1:
        return target[:1] * len(own)
    student, teacher = setting.models
    raise ValueError(
        f"{student.name} has {len(own)} stages and {teacher.name} {len(target)}, of different widths: which of the "
        "teacher's maps a module of the student hears is to be written by hand; start from the recipe of another pair "
        "and give LAKDStudent its cuts, teacher and teacher_channels"
    )


def _widths(side: Side) -> list[int]:
    return [side.model.point(name).channels for name in side.model.stages]


LOCAL_METHODS: tuple[Method, ...] = (
    Method(
        "lakd",
        "LAKD",
        "LAKDLoss",
        {"absolute": True, "mean_weight": 0.25, "max_weight": 0.75, "alpha": 0.5, "beta": 1.0, "temperature": 4.0},
        1.0,
        1.0,
        "Cuts, alignment and attention: those of LAKD (Zhang et al., 2024). Its weights are not published: alpha 0.5, "
        "beta 1; class maps of 2x2, normalised for pairs of two families only.",
        build=_lakd,
        schedule="cifar_linear_lakd",
        imagenet_schedule="imagenet_linear_lakd",
        maskable=False,
        options=("cuts", "teacher", "teacher_channels", "attention_from", "class_map_size", "normalize", "backward"),
    ),
)
