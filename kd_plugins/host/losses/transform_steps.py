"""Which tensors the transforms of a config change."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ..._checks import check_choice, check_keywords, named_keywords, unknown_name
from .io_dict import IO_TYPES, IODict, captured_tensor
from .reads import SIDES, reads_of
from .transform_table import TRANSFORMS


@dataclass(frozen=True)
class Step:
    """One transform at one tensor of one side."""

    key: str
    side: str
    module_path: str
    io: str
    function: Callable[..., Tensor]
    kwargs: Mapping[str, Any]

    def change(self, tensor: Tensor) -> Tensor:
        """Return the tensor transformed."""
        return self.function(tensor, **self.kwargs)

    def apply(self, io_dict: IODict) -> IODict:
        """Return an io dict with the tensor transformed; the given one does not change."""
        before = captured_tensor(io_dict, self.side, self.module_path, self.io)
        return {**io_dict, self.module_path: {**io_dict[self.module_path], self.io: self.change(before)}}

    def __str__(self) -> str:
        kwargs = ", ".join(f"{name}={value!r}" for name, value in self.kwargs.items())
        return f"{self.key}({kwargs}) on {self.side} {self.module_path!r} {self.io}"


def steps_of(entry: Mapping[str, Any], base: nn.Module, owner: str) -> list[Step]:
    """Return the steps of one entry of ``transforms``, one per tensor; raise ``ValueError`` if it is invalid."""
    if not isinstance(entry, Mapping) or "key" not in entry:
        raise ValueError(f"every transform of {owner} must be a mapping with a key, found {entry!r}")
    kwargs = dict(entry)
    key = kwargs.pop("key")
    if key not in TRANSFORMS:
        raise unknown_name("transform", key, TRANSFORMS)
    transform = TRANSFORMS[key]
    function = pkgutil.resolve_name(transform.path)
    side = kwargs.pop("side", transform.side)
    check_choice(f"side of transform {key}", side, ("both", *SIDES))
    sides = SIDES if side == "both" else (side,)
    if transform.not_on_student and "student" in sides:
        raise ValueError(f"transform {key} must have side: teacher, found side: {side}; {transform.not_on_student}")
    places = {name: _places(name, kwargs, base, key) for name in sides}

    named, _ = named_keywords(function)
    tensor_argument = next(iter(named))
    own = [name for name in named if name != tensor_argument]
    reserved = ["side", *(f"{name}_module_{part}" for name in sides for part in ("path", "io"))]
    check_keywords(f"transform {key}", kwargs, [*own, *reserved])
    missing = [n for n in own if named[n].default is inspect.Parameter.empty and n not in kwargs]
    if missing:
        raise ValueError(f"transform {key} needs {' and '.join(missing)}; add it beside its key")
    if transform.check:
        pkgutil.resolve_name(transform.check)(**kwargs)
    return [Step(key, name, *place, function, kwargs) for name in sides for place in places[name]]


def _places(side: str, kwargs: dict[str, Any], base: nn.Module, key: str) -> list[tuple[str, str]]:
    """Pop one side's tensors from ``kwargs``: by default all that the base loss reads."""
    found, owner = reads_of(base, side), type(base).__name__
    io = kwargs.pop(f"{side}_module_io", None)
    check_choice(f"{side}_module_io of transform {key}", io or "output", IO_TYPES)
    there = ", ".join(dict.fromkeys(repr(read.path) for read in found or ()))
    if f"{side}_module_path" in kwargs:
        path = kwargs.pop(f"{side}_module_path")
        if found is not None and path not in [read.path for read in found]:
            raise ValueError(
                f"transform {key} would change the {side}'s {path!r}, which {owner} does not read (it reads "
                f"{there or 'nothing of that side'}); set {side}_module_path accordingly"
            )
        ios = [read.io for read in found or () if read.path == path]
        return [(path, one) for one in dict.fromkeys([io] if io else ios or ["output"])]
    if found is None:
        raise ValueError(
            f"transform {key} cannot find out which tensors {owner} reads; set {side}_module_path beside its key in "
            "TransformedLoss, or remove the transform"
        )
    if not found:
        other = SIDES[1 - SIDES.index(side)]
        raise ValueError(
            f"transform {key} would change the {side}'s tensors, but {owner} reads none of them; set side: {other}"
        )
    if len({read.what for read in found}) > 1:
        kinds = ", ".join(f"{read.path!r} {read.io} ({read.what})" for read in found)
        raise ValueError(
            f"transform {key} is ambiguous: {owner} reads several tensors of the {side}, {kinds}; set "
            f"{side}_module_path beside its key in TransformedLoss, or set side if it is not for the {side}"
        )
    return list(dict.fromkeys((read.path, io or read.io) for read in found))
