"""KD layers inside a student (letKD); they are part of the model at inference."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from .._checks import check_finite, check_keywords, map_size
from ..modules.kd_layer.layer import KDLayer
from .points.entries import ENTRY_KEYS, ShownPoint, resolve_points, shown_point
from .points.names import feature_points, image_size
from .points.point import FeaturePoint
from .points.probe import capture, probe_images, run, still, submodule

ModelT = TypeVar("ModelT", bound=nn.Module)

CONTAINER = "kd_layer"
PENULTIMATE, INTERMEDIATE = "penultimate", "intermediate"
NUM_CENTRES = 4096
SCALES = ("score_scale", "output_scale")
LAYER_KEYS = ("point", "num_scores", "alpha", *SCALES, *(key for key in ENTRY_KEYS if key != "path"))
EXAMPLE = "{point: penultimate, num_scores: 4096, alpha: 1.0}"


def add_kd_layers(
    model: ModelT, layers: Sequence[Mapping[str, Any]], *, probe_size: int | Sequence[int] | None = None
) -> ModelT:
    """Insert KD layers into a model, in place, and return it: each replaces a feature by its output.

    The layers are children of ``kd_layer``; all other names stay the same. Later modules, and hooks registered later at
    the same point, see the changed feature. Class and other prefix tokens skip the layer.

    Args:
        model: any model except a bare ``nn.Sequential``, which would run the layers as its own.
        layers: one mapping per layer:

            - ``point``: ``"penultimate"``, the last map before the pooling (the feature point ``last_map``);
              ``"intermediate"``, the output of the first block of the last stage; the name of another feature point; or
              the path of a module, with ``layout`` and, if needed, ``io``, ``prefix_tokens`` and ``grid``,
            - ``num_scores``: K, the number of centres or sub-classes in the statistics; 4096 by default for
              ``penultimate``,
            - ``alpha``: the layer's share, 1 by default,
            - ``score_scale`` and ``output_scale``: initial scales, see :class:`~kd_plugins.modules.KDLayer`,
            - ``name``: the layer is ``kd_layer.<name>``, and its scores are at ``kd_layer.<name>.scores``. By default
              the point, with ``_`` for the dots of a path.
        probe_size: height and width of the images, or one number, where they are not the model's own size.

    Raises:
        ValueError: on an invalid entry, a point that the model lacks or that holds no map, or a point that does not
            affect the model's output.

    References:
        letKD, Knowledge Distillation Layer that Lets the Student Decide, BMVC 2023.

    Example:
        >>> from kd_plugins.models import CIFAR_MODELS
        >>> model = add_kd_layers(CIFAR_MODELS["cifar_resnet8"](), [{"point": "penultimate", "num_scores": 32}])
        >>> model.kd_layer.penultimate.scores
        Identity()
    """
    if isinstance(layers, (str, Mapping)) or not isinstance(layers, Sequence) or not layers:
        raise ValueError(f"layers must be a list such as [{EXAMPLE}], found {layers!r}")
    entries = [_entry(number, layer) for number, layer in enumerate(layers)]
    names = [entry["name"] for entry in entries]
    if len(set(names)) < len(names):
        raise ValueError(f"the KD layers of a student must have different names, found {', '.join(names)}")
    if isinstance(model, nn.Sequential) or hasattr(model, CONTAINER):
        reason = f"it already has a {CONTAINER!r}" if hasattr(model, CONTAINER) else "it would run them as its own"
        raise ValueError(f"KD layers cannot be added to this {type(model).__name__}: {reason}")
    size = None if probe_size is None else map_size("probe_size", probe_size)
    points = [_resolve(model, entry, size) for entry in entries]
    images = probe_images(model, image_size(model, size))
    found = capture(model, images, {(point.path, point.io) for point in points})
    kd_layers: dict[str, KDLayer] = {}
    for entry, point in zip(entries, points, strict=True):
        tensor = found[point.path, point.io]
        if point.layout == "NC" or tensor.ndim == 2:
            raise ValueError(
                f"a KD layer needs a feature map, found {tuple(tensor.shape)} at {point.path!r} {point.io} of "
                f"{type(model).__name__}"
            )
        channels = point.as_map(tensor).shape[1]
        scales = {key: entry[key] for key in SCALES if key in entry}
        layer = KDLayer(channels, entry["num_scores"], alpha=entry["alpha"], **scales)
        kd_layers[entry["name"]] = layer.to(tensor.device, tensor.dtype).train(model.training)
    setattr(model, CONTAINER, nn.ModuleDict(kd_layers))
    for point, layer in zip(points, kd_layers.values(), strict=True):
        module, hook = submodule(model, point.path), _Inserted(point, layer)
        module.register_forward_pre_hook(hook) if point.io == "input" else module.register_forward_hook(hook)
    for name, layer in kd_layers.items():
        _check_reaches_the_output(model, name, layer, images)
    return model


def inserted_points(model: nn.Module) -> dict[str, ShownPoint]:
    """Return the point of every KD layer of a model, by the layer's name, in the order of the layers."""
    layers = getattr(model, CONTAINER, None)
    named = layers.items() if isinstance(layers, nn.ModuleDict) else ()
    return {name: hook.point for name, layer in named for hook in _inserted(model) if hook.layer is layer}


@contextlib.contextmanager
def without_kd_layers(model: nn.Module) -> Iterator[None]:
    """Leave the features of a model as they are without its KD layers; the tensors are the same objects, too."""
    hooks = _inserted(model)
    for hook in hooks:
        hook.on = False
    try:
        yield
    finally:
        for hook in hooks:
            hook.on = True


def first_block(model: nn.Module, *, probe_size: int | Sequence[int] | None = None) -> FeaturePoint:
    """Return the output of the first block of a model's last stage: letKD's intermediate layer.

    A model without such blocks can name the module with a method ``intermediate_path``.

    Args:
        model: one that :func:`~kd_plugins.models.feature_points` knows.
        probe_size: height and width of the images, where they are not the model's own size.

    Raises:
        ValueError: if the blocks of the last stage cannot be found.

    Example:
        >>> from kd_plugins.models import CIFAR_MODELS
        >>> [first_block(CIFAR_MODELS[f"cifar_{name}"]()).path for name in ("resnet20", "wrn_16_2", "vgg13")]
        ['layer3.0', 'block3.layer.0', 'block4.2']
    """
    stages = [
        p for p in feature_points(model, input_size=probe_size) if p.name.startswith("stage") and "_" not in p.name
    ]
    path = _first_block_path(model, stages) if stages else None
    if path is None:
        raise ValueError(
            f"the first block of the last stage of {type(model).__name__} is unknown; set point to its path and add "
            "its layout, as in {name: intermediate, point: layer4.0, layout: NCHW}"
        )
    like = next((stage for stage in stages if stage.path == path), stages[-1])
    return dataclasses.replace(like, name=INTERMEDIATE, path=path)


def _first_block_path(model: nn.Module, stages: Sequence[FeaturePoint]) -> str | None:
    own = getattr(model, "intermediate_path", None)
    if own is not None:
        return str(own())
    last = stages[-1]
    if len(stages) > 1 and stages[-2].stride == last.stride:
        # At one resolution the stages are parts of one list of blocks.
        before, _, number = stages[-2].path.rpartition(".")
        if number.isdigit() and last.path.rpartition(".")[0] == before:
            return f"{before}.{int(number) + 1}"
    stage, path = submodule(model, last.path), last.path
    for name in ("blocks", "layer"):
        inside = getattr(stage, name, None)
        if isinstance(inside, (nn.Sequential, nn.ModuleList)):
            stage, path = inside, f"{path}.{name}"
            break
    children = list(stage.named_children())
    alike = len({type(child) for _, child in children}) == 1
    if not children or not (alike or isinstance(stage, (nn.Sequential, nn.ModuleList))):
        return None
    return f"{path}.{children[0][0]}"


def _entry(number: int, layer: Any) -> dict[str, Any]:
    """Return the checked config entry of one layer, with its defaults."""
    where = f"layers[{number}]"
    if not isinstance(layer, Mapping) or not isinstance(layer.get("point"), str) or not layer["point"]:
        raise ValueError(f"{where} must be a mapping with a point, such as {EXAMPLE}, found {layer!r}")
    check_keywords(where, layer, LAYER_KEYS)
    point = layer["point"]
    entry = {"name": point.replace(".", "_"), "alpha": 1.0, **layer}
    if point == PENULTIMATE:
        entry.setdefault("num_scores", NUM_CENTRES)
    count = entry.get("num_scores")
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise ValueError(
            f"num_scores of {where} must be a whole number of at least 1, the number of centres (penultimate) or of "
            f"sub-classes of all classes (intermediate) in the statistics, found {count!r}"
        )
    check_finite(f"alpha of {where}", entry["alpha"])
    name = entry["name"]
    if not isinstance(name, str) or not name or "." in name or hasattr(nn.ModuleDict(), name):
        raise ValueError(f"name of {where} must be a plain word that nn.ModuleDict does not use, found {name!r}")
    return entry


def _resolve(model: nn.Module, entry: Mapping[str, Any], size: tuple[int, int] | None) -> ShownPoint:
    point, raw = entry["point"], {key: entry[key] for key in ENTRY_KEYS if key not in ("name", "path") and key in entry}
    if point == INTERMEDIATE:
        return dataclasses.replace(shown_point(first_block(model, probe_size=size)), declared=None)
    paths = {path for path, _ in model.named_modules() if path}
    if raw or (point in paths and point != PENULTIMATE):
        if "layout" not in raw and hasattr(model, "feature_paths"):
            raw["layout"] = "NCHW"  # of all maps of such a network
        return resolve_points(model, [{"name": entry["name"], "path": point, **raw}], probe_size=size)[0]
    return resolve_points(model, ["last_map" if point == PENULTIMATE else point], probe_size=size)[0]


class _Inserted:
    """Hook that replaces a feature. An object, unlike a closure, is deep-copied together with its layer."""

    def __init__(self, point: ShownPoint, layer: nn.Module) -> None:
        self.point = point
        self.layer = layer
        self.on = True

    def __call__(self, module: nn.Module, args: Any, output: Any = None) -> Any:
        if not self.on:
            return None
        if self.point.io == "input":
            return self._changed(args[0] if args else None), *args[1:]
        return self._changed(output)

    def _changed(self, tensor: Any) -> Tensor:
        changed = self.layer(self.point.as_map(tensor))
        if self.point.layout == "NCHW":
            return changed
        if self.point.layout == "NHWC":
            return changed.permute(0, 2, 3, 1)
        return torch.cat([tensor[:, : self.point.prefix_tokens], changed.flatten(2).transpose(1, 2)], dim=1)


def _inserted(model: nn.Module) -> list[_Inserted]:
    hooks = (hook for m in model.modules() for hook in (*m._forward_pre_hooks.values(), *m._forward_hooks.values()))
    return [hook for hook in hooks if isinstance(hook, _Inserted)]


def _check_reaches_the_output(model: nn.Module, name: str, layer: KDLayer, images: Tensor) -> None:
    """Raise unless the model's output depends on the layer."""
    alpha, outputs = layer.alpha, []
    try:
        for layer.alpha in (0.0, 1.0):
            with still(model):
                outputs.append(run(model, images))
    finally:
        layer.alpha = alpha
    if isinstance(outputs[0], Tensor) and torch.equal(*outputs):
        raise ValueError(
            f"the KD layer {name!r} does not affect the output of {type(model).__name__}, which uses only a class "
            "token or another part of the feature: set global_pool: avg in the student's kwargs, or an earlier point "
            "for the layer, such as stage3"
        )
