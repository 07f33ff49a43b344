"""Check that the module paths of a config exist in its models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from .._checks import nearest
from .._errors import ConfigError
from ..host.detection.teacher import FPN, LABELS, PROPOSALS
from ..host.losses.mid_level import TARGETS_PATH
from ..host.losses.reads import reads
from ..host.transparent import POINTS
from ..models import feature_points
from ..models.points.entries import CLASS_MAPS
from .keys import kwargs_of


def check_module_paths(
    model: nn.Module,
    paths: Iterable[str],
    *,
    what: str,
    where: str,
    own: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Raise :class:`ConfigError` unless every path, such as ``"layer3.0"``, names a module (or parameter) of ``model``.

    A negative list index counts from the end, as in torchdistill. The message has ``what``, ``"student"`` or
    ``"teacher"``, and ``where``, the place in the config. It also suggests the modules that a wrapper adds, ``own``:
    container -> their names.
    """
    names = [name for name, _ in model.named_modules() if name]
    for path in paths:
        if path in names or path.startswith("+") or _reachable(model, path):
            continue
        same_level = [name for name in names if name.count(".") <= path.count(".")]
        offer = ", ".join(map(repr, nearest(path, [*names, *_joined(own or {})]) or same_level[:12]))
        raise ConfigError(f"the {what} has no module {path!r} at {where}; its nearest paths are {offer}")


SHOWN_BY = {"points": "FeatureStudent", "regressors": "RegressorStudent"}


def path_inside(
    model: nn.Module, path: str, *, what: str, where: str, wrapper: str, prefix: str, own: Mapping[str, Sequence[str]]
) -> str | None:
    """Return the path inside ``model``, or None if it is one of the wrapper's own.

    The arguments are those of :func:`check_module_paths`, the wrapper's key, and its attribute that holds the model:
    the path may start with this ``prefix``. Raises :class:`ConfigError` if a path of the wrapper's does not exist.
    """
    container, _, name = path.partition(".")
    shown = own.get(container)
    if hasattr(model, container) or (shown is None and container not in SHOWN_BY):
        return path.removeprefix(f"{prefix}.") if prefix else path
    if name not in (shown or ()):
        raise ConfigError(_not_shown(model, path, shown, what=what, where=where, wrapper=wrapper))
    return None


def loss_paths(stage: Mapping[str, Any], side: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the module paths of one side in a stage's loss terms, each with its place in the stage."""
    for name, term in (kwargs_of(stage["criterion"]).get("sub_terms") or {}).items():
        at = ("criterion", "kwargs", "sub_terms", name)
        kwargs, key = kwargs_of(term["criterion"]), f"{side}_module_path"
        for read in reads(kwargs, side, [term["criterion"]["key"]]) or ():
            yield (*at, "criterion", "kwargs", *([key] if key in kwargs else [])), read.path
        if side == "student" and isinstance(kwargs.get(TARGETS_PATH), str):
            yield (*at, "criterion", "kwargs", TARGETS_PATH), kwargs[TARGETS_PATH]
        for part, place in kwargs_of(term.get("criterion_wrapper")).items():
            path = place.get("module_path") if isinstance(place, Mapping) else None
            if isinstance(path, str) and bool(place.get("is_from_teacher")) == (side == "teacher"):
                yield (*at, "criterion_wrapper", "kwargs", part, "module_path"), path


def showable(model: nn.Module, path: str) -> bool:
    """Tell whether a path is one that a wrapper can add for this model, and so not a typo."""
    container, _, name = path.partition(".")
    return container in SHOWN_BY and name in _feature_points(model)


def _joined(own: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the paths of a wrapper's own modules; the empty name is the container itself."""
    return [f"{container}.{name}" if name else container for container, names in own.items() for name in names]


def _not_shown(model: nn.Module, path: str, shown: Sequence[str] | None, *, what: str, where: str, wrapper: str) -> str:
    container, _, name = path.partition(".")
    if what == "teacher" and container == "regressors":
        return f"the teacher has no {path!r} at {where}: only RegressorStudent, a student wrapper, has regressors"
    if container == POINTS and name.partition(".")[0] in (PROPOSALS, LABELS, FPN) and shown is None:
        key = f"Detection{what.title()}"
        return f"the {what} provides no {path!r} at {where}: set train.{what}.auxiliary_model_wrapper: {{key: {key}}}"
    there = ", ".join(_joined({container: shown or ()})) or "nothing"
    real = _feature_points(model) if container in SHOWN_BY else ()
    # A point that the wrapper can provide was left out of its kwargs; it is not a typo.
    near = [] if name in real else (nearest(name, shown or (), count=1) or nearest(name, real, count=1))
    offer = f" (did you mean '{container}.{near[0]}'?)" if near else ""
    found = f"the {what} provides no {path!r} at {where}{offer}; it provides {there}"
    if container not in SHOWN_BY:
        return f"{found}, which {wrapper} adds"
    if real and name not in real:
        if not near or near[0] in (shown or ()):
            return f"{found}; the model has {', '.join(real)}" if not near else found
        name = near[0]
    entry = f"points: [{name}]" if container == "points" else f"pairs: [{{student: {name}, channels: ...}}]"
    key = wrapper if shown is not None else "FrozenTeacher" if what == "teacher" else SHOWN_BY[container]
    return f"{found}. Add it to train.{what}: auxiliary_model_wrapper: {{key: {key}, kwargs: {{{entry}}}}}"


def _feature_points(model: nn.Module) -> tuple[str, ...]:
    """Return the names of the points that a wrapper can provide for a model; empty if they are unknown."""
    try:
        return (*(point.name for point in feature_points(model)), CLASS_MAPS)
    except ValueError:
        return ()


def _reachable(model: nn.Module, path: str) -> bool:
    found: Any = model
    for name in path.split("."):
        if name.lstrip("-").isdigit() and isinstance(found, (nn.Sequential, nn.ModuleList)):
            index = int(name)
            if not -len(found) <= index < len(found):
                return False
            found = found[index]
        elif hasattr(found, name):
            found = getattr(found, name)
        else:
            return False
    return True
