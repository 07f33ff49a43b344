"""The teacher's and the student's side of a config: the tensors that losses read, and the wrapper that shows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .models import Model, Point

Place = tuple[str, str]
"""Path of a hooked module, and ``"input"`` or ``"output"``."""


class Side:
    """Section of a config for one side, collected while the terms are written.

    Attributes:
        shown: points that the wrapper shows as maps: names of feature points, or mappings that describe others.
        hooks: ``input`` and ``output`` -> hooked paths.
    """

    def __init__(self, model: Model, image_size: int) -> None:
        self.model = model.at_size(image_size)
        self.image_size = image_size
        self.shown: list[str | dict[str, Any]] = []
        self.hooks: dict[str, list[str]] = {}

    def hook(self, path: str, io: str = "output") -> Place:
        """Hook a module, once, and return its place."""
        paths = self.hooks.setdefault(io, [])
        if path not in paths:
            paths.append(path)
        return path, io

    def map_at(self, name: str) -> Place:
        """Return the place of a feature point as a map (B, c, H, W): its module, or one of the wrapper."""
        return self.map_of(self.model.point(name))

    def map_of(self, point: Point) -> Place:
        """Return the place of any point as a map."""
        if point.layout == "NCHW":
            return self.hook(point.path, point.io)
        if point in self.model.points:
            return self.show(point.name)
        entry: dict[str, Any] = {"name": point.name, "path": point.path, "layout": point.layout}
        return self.show({**entry, "prefix_tokens": point.prefix_tokens} if point.prefix_tokens else entry)

    def show(self, entry: str | dict[str, Any]) -> Place:
        """Let the wrapper show a point as a map."""
        if entry not in self.shown:
            self.shown.append(entry)
        return self.hook(f"points.{entry if isinstance(entry, str) else entry['name']}")

    def pooled(self) -> Place:
        """Return the place of the classifier's input (B, c)."""
        point = self.model.point("pooled")
        return self.hook(point.path, point.io)

    def map_size(self, point: Point) -> int | None:
        """Return height and width of the map at a point; None for a vector."""
        return None if point.stride is None else max(1, self.image_size // point.stride)

    def probed(self) -> dict[str, int]:
        """Return the keyword of wrappers for images of another size than the model's own."""
        return {} if self.image_size == self.model.input_size else {"probe_size": self.image_size}

    def _hooked(self) -> dict[str, Any]:
        hooks = {io: self.hooks[io] for io in ("input", "output") if io in self.hooks}
        return {"forward_hook": hooks} if hooks else {}


class StudentSide(Side):
    """The student's side, with regressors or another wrapper.

    Attributes:
        forward: torchdistill's name for how a batch goes through the student.
    """

    def __init__(self, model: Model, image_size: int) -> None:
        super().__init__(model, image_size)
        self.forward = "forward_batch_only"
        self.pairs: list[dict[str, Any]] = []
        self.key = ""
        self.kwargs: Mapping[str, Any] = {}
        self.of = ""

    def regressed(
        self, point: str, teacher: Side, teacher_point: str, *, of: str, key: str = "RegressorStudent", name: str = "",
        **kwargs: Any,
    ) -> Place:  # fmt: skip
        """Return the place of the student's point after a regressor to the channels and size of ``teacher_point``.

        ``of`` is the title of the method, ``key`` the wrapper with the regressors, ``name`` that of the regressor if a
        point has several; ``kwargs`` are the wrapper's, besides its pairs.
        """
        self.wrap(key, kwargs, of=of)
        target = teacher.model.point(teacher_point)
        pair: dict[str, Any] = {"name": name} if name else {}
        pair |= {"student": point, "channels": target.channels}
        if self.map_size(self.model.point(point)) != teacher.map_size(target):
            pair["size"] = teacher.map_size(target)
        if pair not in self.pairs:
            self.pairs.append(pair)
        return self.hook(f"regressors.{name or point}")

    def wrap(self, key: str, kwargs: Mapping[str, Any], *, of: str) -> None:
        """Put a wrapper around the student; raise ``ValueError`` if another method has another one."""
        if self.key and (self.key, dict(self.kwargs)) != (key, dict(kwargs)):
            raise ValueError(
                f"{self.of} and {of} cannot be added: each wraps the student in its own way ({self.key}, {key})"
            )
        self.key, self.kwargs, self.of = key, kwargs, of

    def yaml(self) -> dict[str, Any]:
        """Return the ``student`` of a config."""
        section: dict[str, Any] = {"forward_proc": self.forward}
        kwargs: Mapping[str, Any] = {"pairs": self.pairs, **self.kwargs} if self.pairs else self.kwargs
        key = self.key
        if self.shown:
            if key and not self.pairs:
                raise ValueError(f"{self.of}, which wraps the student in {key}, and maps of {self.model.name} that a "
                                 "wrapper shows cannot be added")  # fmt: skip
            key = key or "FeatureStudent"
            kwargs = {**kwargs, "points": self.shown}
        if self.pairs or self.shown:
            kwargs = {**kwargs, **self.probed()}
        if key:
            section["auxiliary_model_wrapper"] = {"key": key, "kwargs": kwargs}
        return {**section, **self._hooked()}


class TeacherSide(Side):
    """The frozen teacher's side."""

    key = "FrozenTeacher"
    """Key of the wrapper that shows its features."""

    def projected(self, name: str) -> Place:
        """Return the place of a point after a projection of the student's wrapper."""
        self.key = "ProjectedTeacher"
        if name not in self.shown:
            self.shown.append(name)
        return self.hook(f"projections.{name}")

    def yaml(self) -> dict[str, Any]:
        """Return the ``teacher`` of a config."""
        section: dict[str, Any] = {"forward_proc": "forward_batch_only", "requires_grad": False}
        if self.shown:
            section["auxiliary_model_wrapper"] = {"key": self.key, "kwargs": {"points": self.shown, **self.probed()}}
        return {**section, **self._hooked()}


def aligned_stages(student: Model, teacher: Model) -> list[tuple[str, str]]:
    """Return the pairs of stages to compare, aligned at the last one; at most four.

    Example:
        >>> from kd_plugins.pairs.models import find_model
        >>> wrn, mobile = (find_model(name, family="cifar") for name in ("wrn_40_2", "mobilenetv2"))
        >>> aligned_stages(mobile, wrn)
        [('stage2', 'stage1'), ('stage3', 'stage2'), ('stage4', 'stage3')]
    """
    count = min(len(used_stages(student)), len(used_stages(teacher)))
    return list(zip(used_stages(student)[-count:], used_stages(teacher)[-count:], strict=True))


def used_stages(model: Model) -> list[str]:
    """Return a model's last four stages; the first of VGG's five is a stem in other models."""
    model.need_points()
    return model.stages[-4:]
