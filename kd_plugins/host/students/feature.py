"""Student wrappers that expose feature points as maps, and regressors on these maps."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..._checks import check_at_least, check_keywords, map_size, named_keywords, unknown_name
from ...methods import METHODS
from ...models.points.entries import PointEntry, entry_name
from ...models.points.names import image_size
from ...models.points.probe import probe_images, still
from ...models.points.shown import collected
from ...modules.regressor import FeatureRegressor, resize_between
from ..keep_in_graph import keep_in_graph
from ..transparent import TransparentWrapper

PAIR_KEYS = ("name", "student", "channels", "size")
PAIR_EXAMPLE = "{student: stage3, channels: 256, size: 8}"
REGRESSOR_EXAMPLE = "{key: MaskedGenerator, kwargs: {mask_ratio: 0.15}}"
GIVEN = ("in_channels", "out_channels", "resize")
"""Keywords of a regressor that come from the pair."""


class FeatureStudent(TransparentWrapper):
    """Expose tensors of the student as maps (B, c, H, W), whatever their layout, for losses on features.

    Every forward pass calls the submodule ``points.<name>`` with the map of each point; the config hooks its output.
    The student's output, module paths and state dict do not change, and there are no new parameters.

    Args:
        student_model: the student, given by torchdistill like ``device``, ``device_ids`` and ``distributed`` (unused).
        points: names of feature points, such as ``stage3``, ``last_map`` or ``class_maps`` (the classifier's weight
            applied to the last map), or mappings that describe the tensor of any module:
            ``{name: mid, path: blocks.5, io: output, layout: NLC, prefix_tokens: 1, grid: [8, 8]}``.
        probe_size: height and width of the images, or one number, where they are not the model's own size; a model
            without a fixed size (ResNet, ConvNeXt) does not need it to show its points.

    Raises:
        ValueError: on a point that the student does not have.

    Example:
        In a config::

            student:
              forward_proc: forward_batch_only
              auxiliary_model_wrapper: {key: FeatureStudent, kwargs: {points: [stage3]}}
              forward_hook: {output: [points.stage3]}
    """

    inside = "student_model"

    def __init__(
        self,
        student_model: nn.Module,
        device: torch.device | None = None,
        device_ids: list[int] | None = None,
        distributed: bool = False,
        *,
        points: Sequence[PointEntry],
        probe_size: int | Sequence[int] | None = None,
    ) -> None:
        super().__init__(student_model)
        self.show_points(points, probe_size=probe_size)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the student's output."""
        return self.student_model(*args, **kwargs)


class RegressorStudent(FeatureStudent):
    """Learn regressors from the student's feature maps to the teacher's channels.

    In training, every forward pass runs the submodule ``regressors.<name>`` on each pair's map; the config hooks its
    output for the loss. In eval mode the regressors do not run. The optimizer trains them. They are not in the
    student's checkpoint, but this package's trainer saves them for an exact resume. The pairs' maps are also at
    ``points.<name>``.

    A regressor is a convolution with batch norm and ReLU. It is 1x1 if both maps have the same size or ``size`` is left
    out, 3x3 with stride 2 if the student's map is twice as high and wide as the teacher's, and a transposed 4x4
    convolution if it is half as high and wide. For other sizes it is 1x1, and the loss pools both maps to the smaller
    size.

    Args:
        student_model: the student, which must return one tensor; the next three are as in ``FeatureStudent``.
        pairs: mappings of ``student``, an entry as in ``points`` of :class:`FeatureStudent`; ``channels`` of the
            teacher's map; ``size`` of the teacher's map, one number or [H, W], if it differs from the student's; and
            ``name``, by default the point's.
        points: further maps to expose.
        probe_size: as in :class:`FeatureStudent`; needed with ``size`` if the images do not have the model's own
            size, as for a timm ResNet on images of 32x32.
        regressor: what replaces the convolution with batch norm and ReLU, such as
            ``{key: MaskedGenerator, kwargs: {mask_ratio: 0.15}}``; ``kd-plugins list regressors`` prints the keys.

    Raises:
        ValueError: on an invalid pair, or a point that the student does not have.

    References:
        Romero et al., FitNets: Hints for Thin Deep Nets, ICLR 2015.

    Example:
        In a config::

            student:
              forward_proc: forward_batch_only
              auxiliary_model_wrapper:
                key: RegressorStudent
                kwargs: {pairs: [{student: stage3, channels: 256, size: 8}]}
              forward_hook: {output: [regressors.stage3]}
    """

    def __init__(
        self,
        student_model: nn.Module,
        device: torch.device | None = None,
        device_ids: list[int] | None = None,
        distributed: bool = False,
        *,
        pairs: Sequence[Mapping[str, Any]],
        points: Sequence[PointEntry] = (),
        probe_size: int | Sequence[int] | None = None,
        regressor: Mapping[str, Any] | None = None,
    ) -> None:
        wanted = _checked_pairs(pairs)
        self.build_regressor = regressor_builder(regressor)
        entries = [*points, *(entry for entry, _, _ in wanted.values())]
        unique = [entry for position, entry in enumerate(entries) if entry not in entries[:position]]
        super().__init__(student_model, points=unique, probe_size=probe_size)
        sizes = _map_shapes(student_model, self.points, image_size(student_model, probe_size, argument="probe_size"))
        self.sources = {name: entry_name(entry) for name, (entry, _, _) in wanted.items()}
        self.regressors = nn.ModuleDict()
        self.expected: dict[str, tuple[int, int]] = {}
        for name, (_, channels, size) in wanted.items():
            self.regressors[name] = self._regressor(name, sizes[self.sources[name]], channels, size)

    def _regressor(self, name: str, shape: Sequence[int], channels: int, size: tuple[int, int] | None) -> nn.Module:
        """Return the regressor from the student's maps, of ``shape`` (c, H, W), to the teacher's channels and size."""
        own, height, width = shape
        resize = "none"
        if size is not None:
            self.expected[name] = (height, width)
            resize = resize_between((height, width), size)
        return self.build_regressor(own, channels, resize=resize)

    @classmethod
    def own_paths(cls, kwargs: Mapping[str, Any]) -> dict[str, list[str]]:
        """Return the names of the wrapper's own modules."""
        wanted = _checked_pairs(kwargs.get("pairs"))
        sources = [entry_name(entry) for entry, _, _ in wanted.values()]
        shown = super().own_paths(kwargs)["points"]
        return {"points": list(dict.fromkeys([*shown, *sources])), "regressors": list(wanted)}

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the student's output; in training, also run the regressors."""
        if not self.training:
            return self.student_model(*args, **kwargs)
        with collected(self.points, set(self.sources.values())) as maps:
            output = self.student_model(*args, **kwargs)
        if not isinstance(output, Tensor):
            owner = type(self).__name__
            raise ValueError(f"{owner} needs a student that returns one tensor, found {type(output).__name__}")
        return keep_in_graph(output, *self._run(maps))

    def _run(self, maps: Mapping[str, Tensor]) -> list[Tensor]:
        """Return the output of every regressor on its map."""
        return [self.regressors[name](self._source(name, maps)) for name in self.regressors]

    def _source(self, name: str, maps: Mapping[str, Tensor]) -> Tensor:
        source = self.sources[name]
        if source not in maps:
            raise ValueError(
                f"the pair {name!r}: the module of the point {source!r} was not called in the forward pass"
            )
        size = tuple(maps[source].shape[2:])
        if size != self.expected.get(name, size):
            raise ValueError(
                f"the regressor of the pair {name!r} expects maps of {_times(self.expected[name])}, found "
                f"{_times(size)}: set probe_size, beside pairs, to the size of the images"
            )
        return maps[source]


def regressor_builder(section: Mapping[str, Any] | None) -> Callable[..., nn.Module]:
    """Return what builds the regressors: a class by its key, with its keywords; ``FeatureRegressor`` without one."""
    if section is None:
        return FeatureRegressor
    if not isinstance(section, Mapping) or "key" not in section:
        raise ValueError(f"regressor must be a mapping such as {REGRESSOR_EXAMPLE}, found {section!r}")
    check_keywords("regressor", section, ("key", "kwargs"))
    parts = [part for method in METHODS.values() for part in method.parts if part.kind == "regressors"]
    known = {part.key: pkgutil.resolve_name(part.path) for part in parts}
    known[FeatureRegressor.__name__] = FeatureRegressor
    if section["key"] not in known:
        raise unknown_name("regressor", section["key"], known)
    kwargs = dict(section.get("kwargs") or {})
    chosen = known[section["key"]]
    check_keywords(section["key"], kwargs, [name for name in named_keywords(chosen)[0] if name not in GIVEN])
    return partial(chosen, **kwargs)


def _map_shapes(model: nn.Module, shown: nn.ModuleDict, size: tuple[int, int]) -> dict[str, list[int]]:
    """Return channels, height and width of every exposed map, from one forward pass; the model's state is restored."""
    images = probe_images(model, size)
    with still(model), collected(shown, shown) as maps:
        try:
            model(images)
        except (RuntimeError, TypeError, AssertionError, IndexError) as error:
            raise ValueError(
                f"{type(model).__name__} fails on images of {_times(size)} ({error}): set probe_size, beside pairs, to "
                "the size of the images"
            ) from error
    for name in shown:
        if name not in maps:
            raise ValueError(f"the module of the point {name!r} is not called in a forward pass; name another one")
    return {name: list(value.shape[1:]) for name, value in maps.items()}


def _checked_pairs(pairs: Any) -> dict[str, tuple[PointEntry, int, tuple[int, int] | None]]:
    """Return pair name -> (entry of ``points``, the teacher's channels and size)."""
    if isinstance(pairs, (str, Mapping)) or not isinstance(pairs, Sequence) or not pairs:
        raise ValueError(f"pairs must be a list of mappings such as {PAIR_EXAMPLE}, found {pairs!r}")
    found: dict[str, tuple[PointEntry, int, tuple[int, int] | None]] = {}
    for pair in pairs:
        if not isinstance(pair, Mapping):
            raise ValueError(f"pairs must hold mappings such as {PAIR_EXAMPLE}, found {pair!r}")
        check_keywords(f"a pair of {RegressorStudent.__name__}", pair, PAIR_KEYS)
        for key in ("student", "channels"):
            if pair.get(key) is None:
                raise ValueError(f"the pair {dict(pair)!r} needs {key!r}, as in {PAIR_EXAMPLE}")
        student = pair["student"]
        if isinstance(student, Mapping) and "name" not in student:
            if not pair.get("name"):
                raise ValueError(f"the pair {dict(pair)!r} needs a name, because its student is a raw path")
            student = {"name": pair["name"], **student}
        name = entry_name(pair.get("name") or entry_name(student))
        if name in found:
            raise ValueError(f"two pairs have the name {name!r}: rename one of them, as in {{name: other, ...}}")
        check_at_least(f"channels of the pair {name!r}", pair["channels"], 1)
        if not isinstance(pair["channels"], int):
            raise ValueError(f"channels of the pair {name!r} must be a whole number, found {pair['channels']!r}")
        size = None if pair.get("size") is None else map_size(f"size of the pair {name!r}", pair["size"])
        found[name] = (student, pair["channels"], size)
    return found


def _times(size: Sequence[int]) -> str:
    return "x".join(map(str, size))
