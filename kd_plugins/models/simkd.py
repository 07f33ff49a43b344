"""SimKD's student, which ends in the teacher's classifier."""

from __future__ import annotations

import copy
import dataclasses
import logging
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .._checks import check_choice, check_keywords, map_size, unknown_name
from ..modules.projector import FeatureProjector
from .checkpoint import load_checkpoint
from .cifar import CIFAR_MODELS
from .frozen import freeze
from .points.entries import is_linear, shown_point
from .points.names import declare_feature_points, feature_points, image_size
from .points.point import FeaturePoint, to_map
from .points.probe import capture, probe_images
from .points.shown import collected, show
from .timm import name_converter, timm_model

logger = logging.getLogger(__name__)

BUILDERS: dict[str, Callable[..., nn.Module]] = {**CIFAR_MODELS, "timm_model": timm_model}
SECTION_KEYS = ("key", "kwargs", "src_ckpt", "dst_ckpt")
LAST_MAP = "last_map"
TEACHER_POINTS = (LAST_MAP, "pooled")


class SimKDStudent(nn.Module):
    r"""Student, projector and the teacher's frozen classifier in sequence.

    .. math:: z = h_t\Bigl(\frac1{HW} \sum_{hw} P(F)_{hw}\Bigr)

    - :math:`F`: the student's last map, before its pooling; the student's later layers are not used,
    - :math:`P`: the projector, a :class:`~kd_plugins.modules.FeatureProjector`,
    - :math:`h_t`: the teacher's classifier, frozen.

    The submodule ``projector`` returns the projected map (B, c_t, H, W), which the loss compares with the teacher's.
    All three parts are in the state dict and are needed at inference. The model's feature points are the student's
    stages, and the projected map as ``last_map``. The classifier of ``student`` is replaced by an identity, in place.

    References:
        Chen et al., Knowledge Distillation with the Reused Teacher Classifier (SimKD), CVPR 2022. The authors' code
        pools a larger student map to the teacher's size before the projector; here the loss pools the projected one.
    """

    def __init__(
        self, student: nn.Module, head: nn.Module, *, input_size: tuple[int, int] | None = None, reduction: int = 2
    ) -> None:
        super().__init__()
        points = {point.name: point for point in feature_points(student, input_size=input_size)}
        for name in (LAST_MAP, "pooled"):
            if name not in points:
                raise ValueError(
                    f"SimKD needs the student's feature point {name!r}, but {type(student).__name__} has none"
                )
        last = points[LAST_MAP]
        size = image_size(student, input_size)
        parent, _, name = points["pooled"].path.rpartition(".")
        setattr(student.get_submodule(parent), name, nn.Identity())
        self.student = student
        self.shown, self.point_hooks = show(student, [shown_point(last)])
        self.head = freeze(_linear(head))
        self.projector = FeatureProjector(last.channels, self.head.in_features, reduction=reduction)
        declare_feature_points(self, self._points(points, last), input_size=size)

    def _points(self, own: Mapping[str, FeaturePoint], last: FeaturePoint) -> list[FeaturePoint]:
        """Return the student's stages and the points after the projector."""
        kept = [point for name, point in own.items() if name not in (LAST_MAP, "pooled", "logits")]
        width = self.head.in_features
        return [
            *(dataclasses.replace(point, path=f"student.{point.path}") for point in kept),
            FeaturePoint(LAST_MAP, "projector", "output", "NCHW", channels=width, stride=last.stride),
            FeaturePoint("pooled", "head", "input", "NC", channels=width, stride=None),
            FeaturePoint("logits", ".", "output", "NC", channels=self.head.out_features, stride=None),
        ]

    def forward(self, x: Tensor) -> Tensor:
        """Map images (B, 3, H, W) to the teacher's classes (B, num_classes)."""
        with collected(self.shown, [LAST_MAP]) as maps:
            self.student(x)
        return self.head(self.projector(maps[LAST_MAP]).mean((2, 3)))


def simkd_student(
    *,
    student: Mapping[str, Any],
    teacher: Mapping[str, Any],
    teacher_point: str = LAST_MAP,
    reduction: int = 2,
    probe_size: int | list[int] | None = None,
) -> nn.Module:
    """Build a student that ends in its teacher's classifier, for ``SimKDLoss``.

    Args:
        student: ``key``, ``kwargs`` and, to start from weights, ``src_ckpt`` of a CIFAR network or a ``timm_model``.
        teacher: the same for the teacher, as in the config under ``models.teacher_model``; only its classifier is kept.
        teacher_point: the target of the projected map. ``"last_map"`` is for a teacher whose classifier takes the
            average of its last map. ``"pooled"`` is for a classifier whose input is a class token or the output of
            layers after the pooling (ViT, ConvNeXt): the student learns the classifier's input, and the loss pools
            the projected map to 1x1. The teacher's wrapper exposes it as ``points.pooled``.
        reduction: factor by which the projector's inner layers are narrower than the teacher's map.
        probe_size: height and width of the images, or one number; None takes the models' own input size.

    Returns:
        A :class:`SimKDStudent`, which is trained, saved and loaded like any other model.

    Raises:
        ValueError: on an unknown model or keyword, weights that do not fit, a classifier that is not linear, or, with
            ``teacher_point="last_map"``, one that does not take the average of the last map.

    Example:
        >>> small = {"key": "cifar_resnet8", "kwargs": {"num_classes": 10}}
        >>> model = simkd_student(student=small, teacher={"key": "cifar_resnet14", "kwargs": {"num_classes": 10}})
        >>> [name for name, _ in model.named_children()]
        ['student', 'shown', 'head', 'projector']
    """
    check_choice("teacher_point", teacher_point, TEACHER_POINTS)
    size = None if probe_size is None else map_size("probe_size", probe_size)
    built_teacher = _build("teacher", teacher)
    head = _classifier(built_teacher, teacher_point, size)
    kwargs = teacher.get("kwargs") or {}
    if not (teacher.get("src_ckpt") or kwargs.get("checkpoint") or kwargs.get("pretrained")):
        logger.warning(
            "simkd_student: the teacher's classifier has random weights until a checkpoint of the whole student is "
            "loaded: set src_ckpt under teacher, or checkpoint or pretrained in the teacher's kwargs"
        )
    return SimKDStudent(_build("student", student), head, input_size=size, reduction=reduction)


def _build(side: str, section: Any) -> nn.Module:
    if not isinstance(section, Mapping) or "key" not in section:
        raise ValueError(f"{side} of simkd_student must be a mapping with key and kwargs, found {section!r}")
    check_keywords(f"{side} of simkd_student", section, SECTION_KEYS)
    key = section["key"]
    if key not in BUILDERS:
        raise unknown_name("model", key, BUILDERS, where=f"{side}.key of simkd_student")
    model = BUILDERS[key](**(section.get("kwargs") or {}))
    source = section.get("src_ckpt")
    return load_checkpoint(model, source, convert=name_converter(model)) if source else model


def _classifier(teacher: nn.Module, teacher_point: str, size: tuple[int, int] | None) -> nn.Module:
    """Return the teacher's classifier, after checking that its input is the student's target."""
    points = {point.name: point for point in feature_points(teacher, input_size=size)}
    pooled, last, logits = (points.get(name) for name in ("pooled", LAST_MAP, "logits"))
    if pooled is None or last is None or logits is None:
        raise ValueError(f"SimKD needs the feature points last_map, pooled and logits of {type(teacher).__name__}")
    head = teacher.get_submodule(pooled.path)
    owner, kind = f"{type(teacher).__name__}, the teacher of simkd_student", type(head).__name__
    if not is_linear(head):
        raise ValueError(f"the classifier {pooled.path!r} of {owner}, must be a linear layer, found {kind}")
    images = probe_images(teacher, image_size(teacher, size))
    found = capture(teacher, images, {(point.path, point.io) for point in (pooled, last, logits)})
    vector = found[pooled.path, pooled.io].flatten(1)
    with torch.no_grad():
        alone = _linear(head)(vector)
    if not _alike(alone, found[logits.path, logits.io]):
        raise ValueError(
            f"the logits of {owner}, are not the output of the classifier {pooled.path!r} alone; SimKD needs a "
            "teacher with one linear classifier"
        )
    average = to_map(last, found[last.path, last.io]).mean((2, 3))
    if teacher_point == LAST_MAP and not _alike(average, vector):
        raise ValueError(
            f"the classifier {pooled.path!r} of {owner}, does not take the average of the last map {last.path!r}, but "
            "a class token or the output of other layers: set teacher_point: pooled in the kwargs of simkd_student, "
            "auxiliary_model_wrapper: {key: FrozenTeacher, kwargs: {points: [pooled]}} and forward_hook: {output: "
            "[points.pooled]} under train.teacher, and teacher_module_path: points.pooled in SimKDLoss"
        )
    return head


def _alike(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a, b, rtol=1e-3, atol=1e-4)


def _linear(head: nn.Module) -> nn.Linear:
    """Return a new linear layer with a copy of the weights of ``head``."""
    if isinstance(head, nn.Linear):
        return copy.deepcopy(head)
    if not isinstance(head, nn.Conv2d) or not is_linear(head):
        raise ValueError(f"head must be a linear layer, found {type(head).__name__}")
    layer = nn.Linear(head.in_channels, head.out_channels, bias=head.bias is not None)
    layer.load_state_dict({**head.state_dict(), "weight": head.weight.flatten(1)})
    return layer
