"""Common names for feature points in every model: stages, last map, pooled vector, logits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from torch import Tensor, nn

from ..._checks import map_size
from ..timm import pretrained_input
from .point import FeaturePoint, verified
from .probe import CannotRunError, capture, probe_images
from .timm_points import is_timm_model, timm_points

CIFAR_INPUT = (32, 32)
DECLARED = "declared_feature_points"
DECLARED_SIZE = "declared_input_size"
HOW_TO_DECLARE = (
    "declare them by hand: declare_feature_points(model, [FeaturePoint('last_map', 'layer4', 'output', "
    "'NCHW', channels=512, stride=32), ...])"
)


def feature_points(model: nn.Module, *, input_size: int | Sequence[int] | None = None) -> list[FeaturePoint]:
    """Find the tensors of a model that distillation methods use.

    - ``stage1`` ... ``stageN``: outputs of the stages, in order. A timm network with several resolutions has its last
      four maps here, mostly at strides 4, 8, 16 and 32; earlier layers count as stem. One with a single resolution,
      such as a ViT, is divided at the quarters of its blocks (``blocks.2``, ``.5``, ``.8`` and ``.11`` of twelve);
      these maps come before the final norm.
    - ``last_map``: the map that the model pools. It is after the final norm if the norm comes before the pooling (ViT,
      Swin, mixers), else before it (ConvNeXt, BEiT). Its path may be the last stage's.
    - ``pooled``: input of the last linear layer. It is as wide as the last map unless other layers come between pooling
      and classifier (MobileNetV3, CAFormer). In a distilled DeiT it is the class token, the input of the first head.
    - ``logits``: output of the model.
    - ``stage1_preact`` ...: input of the next ReLU, in the CIFAR networks that have one after a stage; in a wide ResNet
      after the next batch norm.

    The model runs a few times on two random images, in eval mode without gradient, and every point is verified. Its
    modes and hooks are restored. Existing hooks also run in these passes, so call this before a training box registers
    hooks.

    Args:
        model: one of ``CIFAR_MODELS``, of ``timm_model``, or given to :func:`declare_feature_points`; not wrapped.
        input_size: height and width of the images, or one number for both. By default 32 for the CIFAR networks and
            timm's own size for timm's.

    Raises:
        ValueError: if the points are unknown, or a point differs from its declaration.

    Example:
        >>> from kd_plugins.models import CIFAR_MODELS
        >>> for point in feature_points(CIFAR_MODELS["cifar_resnet8"]())[2:5]:
        ...     print(point.name, point.path, point.io, point.layout, point.channels, point.stride)
        stage3 layer3 output NCHW 64 4
        last_map layer3 output NCHW 64 4
        pooled fc input NC 64 None
    """
    declared: Sequence[FeaturePoint] | None = getattr(model, DECLARED, None)
    named: Callable[[], Mapping[str, tuple[str, str]]] | None = getattr(model, "feature_paths", None)
    if declared is None and named is None and not is_timm_model(model):
        raise _undescribed(model, "it is neither a timm model nor one of the CIFAR networks")
    images = probe_images(model, image_size(model, input_size))
    if declared is not None:
        found = capture(model, images, {(point.path, point.io) for point in declared})
        return [verified(point, found[point.path, point.io], images) for point in declared]
    if named is not None:
        paths = named()
        found = capture(model, images, set(paths.values()))
        points = [_measured(name, *place, found[place], images) for name, place in paths.items()]
        return [verified(point, found[point.path, point.io], images) for point in points]
    try:
        return timm_points(model, images)
    except CannotRunError:
        raise
    except ValueError as error:
        raise _undescribed(model, str(error)) from error


def feature_point(model: nn.Module, name: str, *, input_size: int | Sequence[int] | None = None) -> FeaturePoint:
    """Return one of :func:`feature_points` by its name.

    Args:
        model: as there.
        name: such as ``"stage2"`` or ``"last_map"``.
        input_size: as there.

    Raises:
        ValueError: if the model lacks the point; and as in :func:`feature_points`.

    Example:
        >>> from kd_plugins.models import CIFAR_MODELS
        >>> feature_point(CIFAR_MODELS["cifar_wrn_16_2"](), "last_map").path
        'relu'
    """
    points = {point.name: point for point in feature_points(model, input_size=input_size)}
    if name not in points:
        raise ValueError(f"{type(model).__name__} has no feature point {name!r}; it has: {', '.join(points)}")
    return points[name]


def image_size(
    model: nn.Module, input_size: int | Sequence[int] | None = None, *, argument: str = "input_size"
) -> tuple[int, int]:
    """Return height and width of the probe images for a model.

    Args:
        model: as in :func:`feature_points`.
        input_size: as there; it overrides the model's own.
        argument: name of ``input_size`` in errors.

    Raises:
        ValueError: if it is neither given nor known, or is not a valid size.

    Example:
        >>> from kd_plugins.models import CIFAR_MODELS
        >>> image_size(CIFAR_MODELS["cifar_resnet8"]()), image_size(nn.Flatten(), 64)
        ((32, 32), (64, 64))
    """
    if input_size is not None:
        return map_size(argument, input_size)
    declared: tuple[int, int] | None = getattr(model, DECLARED_SIZE, None)
    if declared is not None:
        return declared
    own = pretrained_input(model)
    if own is not None:
        return own.input_size[1], own.input_size[2]
    if hasattr(model, "feature_paths"):
        return CIFAR_INPUT
    raise ValueError(f"{type(model).__name__} does not declare an input size; set {argument} to the size of the images")


def declare_feature_points(
    model: nn.Module, points: Iterable[FeaturePoint], *, input_size: int | Sequence[int] | None = None
) -> None:
    """Declare the feature points of a model that :func:`feature_points` does not know.

    They replace all others, and are verified by :func:`feature_points`.

    Args:
        model: any.
        points: with different names.
        input_size: the model's own image size, (H, W) or one number, used if :func:`feature_points` gets no size.

    Raises:
        ValueError: on a duplicate name, an entry that is no ``FeaturePoint``, or an invalid size.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 4, 2, stride=2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        >>> declare_feature_points(
        ...     model, [FeaturePoint("last_map", "0", "output", "NCHW", channels=4, stride=2)]
        ... )
        >>> feature_point(model, "last_map", input_size=8).channels
        4
    """
    declared = tuple(points)
    for point in declared:
        if not isinstance(point, FeaturePoint):
            raise ValueError(f"points must be FeaturePoint objects, found {point!r}")
    names = [point.name for point in declared]
    if len(set(names)) < len(names):
        raise ValueError(f"points must have different names, found {', '.join(names)}")
    setattr(model, DECLARED, declared)
    setattr(model, DECLARED_SIZE, None if input_size is None else map_size("input_size", input_size))


def _measured(name: str, path: str, io: str, tensor: Tensor, images: Tensor) -> FeaturePoint:
    """Return the feature point of a network that declares only paths; its maps are NCHW."""
    layout, stride = ("NC", None) if tensor.ndim == 2 else ("NCHW", round(images.shape[-1] / tensor.shape[-1]))
    return FeaturePoint(name, path, io, layout, channels=tensor.shape[1], stride=stride)


def _undescribed(model: nn.Module, reason: str) -> ValueError:
    return ValueError(f"the feature points of {type(model).__name__} are unknown ({reason}); {HOW_TO_DECLARE}")
