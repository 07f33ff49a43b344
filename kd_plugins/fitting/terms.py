"""Read the letKD terms of a config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .._checks import check_choice, map_size
from .._errors import ConfigError
from ..config.config import Config
from ..config.validate import stages
from ..statistics.artefact import KINDS
from ..statistics.fitting import Settings

LOSS = "LetKDLoss"
AUTO = "auto"


@dataclass(frozen=True)
class LetKDTerm:
    """One ``LetKDLoss`` of a config."""

    place: str  # in the config, for messages
    stage: Mapping[str, Any]  # section of train
    kwargs: dict[str, Any]  # of the loss in the config
    kind: str
    statistics: str  # path of the file, or auto
    layer: str  # module path in the teacher
    io: str
    map_size: tuple[int, int] | None  # (H, W) of the student's map; None takes the teacher's
    settings: Settings
    dataset_id: str | None  # data set for fitting; None takes the training set without augmentation
    path: tuple[object, ...] = ()  # in the YAML file, as keys


def letkd_terms(config: Config, built: Mapping[str, Any]) -> list[LetKDTerm]:
    """Return the letKD terms of all stages; raise ``ConfigError`` if a keyword is missing or invalid."""
    found = []
    for name, stage in stages(built["train"]).items():
        at = ("train", name) if name else ("train",)
        terms = ((stage.get("criterion") or {}).get("kwargs") or {}).get("sub_terms") or {}
        for term_name, term in terms.items():
            criterion = term.get("criterion") or {}
            if criterion.get("key") == LOSS:
                path = (*at, "criterion", "kwargs", "sub_terms", term_name)
                place = config.where(*path)
                try:
                    found.append(_read(criterion.get("kwargs") or {}, stage, path, place))
                except ValueError as error:
                    raise ConfigError(f"{config.path}: {error} at {place}") from error
    return found


def _read(kwargs: dict[str, Any], stage: Mapping[str, Any], path: tuple[object, ...], place: str) -> LetKDTerm:
    for name, example in (("kind", "penultimate"), ("statistics", AUTO), ("teacher_module_path", "layer3")):
        if not isinstance(kwargs.get(name), str) or not kwargs[name]:
            raise ValueError(f"{LOSS} needs {name}, such as {example}; found {kwargs.get(name)!r}")
    check_choice("kind", kwargs["kind"], KINDS)
    io = kwargs.get("teacher_module_io", "output")
    check_choice("teacher_module_io", io, ("output", "input"))
    return LetKDTerm(
        place=place,
        stage=stage,
        kwargs=kwargs,
        kind=kwargs["kind"],
        statistics=kwargs["statistics"],
        layer=kwargs["teacher_module_path"].removeprefix("teacher_model."),
        io=io,
        map_size=_map_size(kwargs.get("map_size")),
        settings=_settings(kwargs),
        dataset_id=kwargs.get("fit_dataset_id"),
        path=path,
    )


def _settings(kwargs: Mapping[str, Any]) -> Settings:
    found = {name: kwargs.get(name, default) for name, default in vars(Settings()).items()}
    for name, value in found.items():
        optional = value is None and name in ("components", "pca")
        if not optional and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise ValueError(f"{name} must be a whole number of at least 1, found {value!r}")
    return Settings(**found)


def _map_size(value: Any) -> tuple[int, int] | None:
    try:
        return None if value is None else map_size("map_size", value)
    except ValueError:
        raise ValueError(
            f"map_size must be the height and width of the student's map, [H, W] or one number, found {value!r}"
        ) from None
