"""Build a config's objects, models and torchdistill box."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torchdistill.common.constant import def_logger
from torchdistill.common.main_util import import_dependencies
from torchdistill.core.distillation import get_distillation_box
from torchdistill.core.training import get_training_box
from torchdistill.datasets.util import build_data_loader
from torchdistill.models import registry as models
from torchdistill.models.wrapper import build_auxiliary_model_wrapper

from .._errors import ConfigError, explain
from ..data.images import use_our_reader
from ..host.letkd.statistics import STATISTICS_ARE_THERE
from ..host.losses.io_dict import MODEL_OUTPUT
from ..host.model_sections import model_from_section, section_inside
from ..host.students.projected import ProjectedTeacher
from ..host.teachers.wrapper import FrozenTeacher
from ..host.transparent import TransparentWrapper
from ..models.checkpoint.reading import local_file, read_file
from ..runtime.distributed import Processes, shard_samplers
from .class_numbering import check_datasets
from .config import Config
from .keys import kwargs_of
from .module_paths import check_module_paths, loss_paths, path_inside, showable
from .validate import Validator, placed_stages, stages

logger = logging.getLogger(__name__)


def constructed(config: Config) -> dict[str, Any]:
    """Construct a config's objects and import its dependencies, also from the config's and the current folder.

    Raises:
        ConfigError: if a tag or an import fails, whatever it raises.
    """
    for place in (str(Path(config.path).parent.resolve()), str(Path.cwd())):
        if place not in sys.path:
            sys.path.append(place)
    built = config.construct()
    dependencies, where = built.get("dependencies"), config.where("dependencies")
    if dependencies is not None and not isinstance(dependencies, list):
        rule = f"dependencies must be a list such as [kd_plugins], found {dependencies!r}"
        raise ConfigError(f"{config.path}: {rule} at {where}")
    try:
        import_dependencies(dependencies)
    except Exception as error:
        raise ConfigError(
            f"{config.path}: a dependency cannot be imported at {where}: {explain(error)}. "
            "Modules are searched in the config's folder, the current folder and on PYTHONPATH"
        ) from error
    return built


@contextmanager
def limited(log: logging.Logger, level: int) -> Iterator[None]:
    """Limit a logger to ``level`` and above within the block."""
    before = log.level
    log.setLevel(level)
    try:
        yield
    finally:
        log.setLevel(before)


def quiet_torchdistill(level: int = logging.WARNING) -> AbstractContextManager[None]:
    """Return a context that limits torchdistill's log to ``level`` and above."""
    return limited(def_logger, level)


def build_config(config: Config) -> dict[str, Any]:
    """Construct a config, import its dependencies and check it; return its objects.

    Raises:
        ConfigError: for the first mistake.
    """
    built = constructed(config)
    Validator(config, built).validate()
    check_datasets(config, built)
    use_our_reader((built.get("datasets") or {}).values())
    return built


def build_model(config: Config, name: str, section: Mapping[str, Any], processes: Processes) -> nn.Module:
    """Build one model of ``models``, see :func:`~kd_plugins.host.model_sections.model_from_section`.

    Raises:
        ConfigError: if the model cannot be built or its checkpoint cannot be loaded.
    """
    where = config.where("models", name)
    try:
        model = model_from_section(section, distributed=processes.distributed)
    except ConfigError:
        raise
    except (ValueError, TypeError, OSError, RuntimeError) as error:
        raise ConfigError(f"{config.path}: {section['key']} at {where}: {explain(error)}") from error
    if name == "teacher_model" and processes.is_main and not has_weights(section):
        rule = "has random weights: set src_ckpt, or checkpoint or pretrained in its kwargs"
        logger.warning("%s: the teacher at %s %s", config.path, where, rule)
    return model.to(processes.device)


def build_models(
    config: Config, built: Mapping[str, Any], processes: Processes
) -> tuple[nn.Module | None, nn.Module, Mapping[str, Any]]:
    """Return teacher (or None), student and the student's section of ``models``."""
    sections = built["models"]
    name = "student_model" if "student_model" in sections else "model"
    teacher = None
    if "teacher_model" in sections:
        teacher = build_model(config, "teacher_model", sections["teacher_model"], processes)
    student = build_model(config, name, sections[name], processes)
    return teacher, student, sections[name]


def build_box(
    config: Config,
    built: Mapping[str, Any],
    teacher: nn.Module | None,
    student: nn.Module,
    processes: Processes,
    seed: int,
) -> Any:
    """Return torchdistill's box for the ``train`` section; with several processes, samplers are sharded.

    Raises:
        ConfigError: if a module path does not exist or torchdistill refuses a part.
    """
    train = built["train"]
    for at, stage in placed_stages(train):
        sides = {"teacher": teacher, "student": student} if teacher is not None else {"model": student}
        for side, model in sides.items():
            if model is not None:
                _check_paths(config, at, side, model, stage)
                _look_into_checkpoint(config, (*at, side, "src_ckpt"), stage.get(side) or {})
        _exactly_resumable(stage)
        if processes.distributed:
            shard_samplers(stage, seed)
    common = (processes.device, processes.device_ids, processes.distributed, 1)
    try:
        if teacher is not None:
            box = get_distillation_box(teacher, student, built["datasets"], train, *common)
        else:
            box = get_training_box(student, built["datasets"], train, *common)
    except AttributeError as error:
        if "register_forward_hook" not in str(error):
            raise
        raise ConfigError(
            f"{config.path}: a forward_hook path does not exist in the model wrapper; in torchdistill's wrappers, "
            "paths start with student_model. or teacher_model."
        ) from error
    except (ValueError, TypeError, KeyError, RuntimeError) as error:
        if "params is NoneType" in str(error):
            where = config.where("train", "optimizer", "module_wise_configs")
            raise ConfigError(f"{config.path}: module_wise_configs names an unknown module at {where}") from error
        raise ConfigError(f"{config.path}: train cannot be set up: {explain(error)}") from error
    if box.train_data_loader is None:
        raise ConfigError(f"{config.path}: train needs a train_data_loader at {config.where('train')}")
    # Callers prepare letKD's statistics first, because they have the config.
    setattr(box, STATISTICS_ARE_THERE, True)
    return box


def build_test_loader(
    built: Mapping[str, Any], processes: Processes, *, fallback: Any = None
) -> torch.utils.data.DataLoader | None:
    """Return the loader of ``test``, or else ``fallback``, or else the last stage's validation loader."""
    section = (built.get("test") or {}).get("test_data_loader")
    if not section:
        if fallback is not None:
            return fallback
        section = list(stages(built["train"]).values())[-1].get("val_data_loader")
    if not section:
        return None
    if processes.distributed:
        stage = {"val_data_loader": {**section, "sampler": dict(section["sampler"])}}
        shard_samplers(stage, 0)
        section = stage["val_data_loader"]
    # A section shared with training by a YAML alias may request (x, y, supplement); evaluation needs pairs.
    section = {**section, "requires_supp": False}
    return build_data_loader(built["datasets"][section["dataset_id"]], section, processes.distributed)


def frozen_wrapper(built: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the section of the teacher's wrapper if it is a ``FrozenTeacher`` or extends one, else an empty one."""
    side = next(iter(stages(built["train"]).values())).get("teacher") or {}
    wrapper = side.get("auxiliary_model_wrapper") or {}
    return wrapper if wrapper.get("key") in (FrozenTeacher.__name__, ProjectedTeacher.__name__) else {}


def evaluation_teacher(built: Mapping[str, Any], teacher: nn.Module, processes: Processes) -> nn.Module:
    """Return the teacher as the student sees it: inside its ``FrozenTeacher``, if the config has one."""
    wrapper = frozen_wrapper(built)
    if not wrapper:
        return teacher
    kwargs = {name: value for name, value in kwargs_of(wrapper).items() if name != "points"}
    side = {"auxiliary_model_wrapper": {"key": FrozenTeacher.__name__, "kwargs": kwargs}}
    return build_auxiliary_model_wrapper(
        side, teacher_model=teacher, device=processes.device, device_ids=None, distributed=False
    ).to(processes.device)


def has_weights(section: Mapping[str, Any]) -> bool:
    """Tell whether a section of ``models`` loads weights.

    Example:
        >>> has_weights({"key": "cifar_resnet8", "kwargs": {"num_classes": 10}})
        False
    """
    kwargs, model = kwargs_of(section), section_inside(section)
    inside = kwargs.get("teachers") if model is section else [model]
    if inside and not section.get("src_ckpt"):
        return all(map(has_weights, inside))
    # `weights` is torchvision's keyword; a hub model loads its own weights.
    given = (section.get("src_ckpt"), section.get("repo_or_dir"))
    return any((*given, *(kwargs.get(name) for name in ("checkpoint", "pretrained", "weights"))))


def _check_paths(config: Config, stage_at: tuple[str, ...], side: str, model: nn.Module, stage: Any) -> None:
    at, section = (*stage_at, side), stage.get(side) or {}
    wrapper = section.get("auxiliary_model_wrapper") or {}
    key = wrapper.get("key") or ""
    kind = models.AUXILIARY_MODEL_WRAPPER_DICT.get(key)
    transparent = isinstance(kind, type) and issubclass(kind, TransparentWrapper)
    if (key and not transparent) or section.get("sequential"):
        return  # paths start at the wrapper, or at a model that is assembled later
    try:
        own = kind.own_paths(kwargs_of(wrapper)) if kind else {}
    except ValueError as error:
        where = config.where(*at, "auxiliary_model_wrapper")
        raise ConfigError(f"{config.path}: {key} at {where}: {explain(error)}") from error
    hooks = section.get("forward_hook") or {}
    for io in hooks:
        if io not in ("input", "output"):
            where = config.where(*at, "forward_hook")
            raise ConfigError(f"keys of forward_hook must be input or output, found {io!r} at {where}")
    named = [((*at, "forward_hook", io), path) for io, paths in hooks.items() for path in paths or []]
    hooked = {MODEL_OUTPUT, *(path for _, path in named)}
    reading = loss_paths(stage, "teacher" if side == "teacher" else "student")
    unhooked = ((place, path) for place, path in reading if path not in hooked and not showable(model, path))
    named += [((*stage_at, *place), path) for place, path in unhooked]
    for place, path in named:
        where = config.where(*place)
        prefix = kind.inside if kind else ""
        inside = path_inside(model, path, what=side, where=where, wrapper=key, prefix=prefix, own=own)
        if inside is not None:
            check_module_paths(model, [inside], what=side, where=where, own=own)
    frozen = [p for p in section.get("frozen_modules") or [] if not p.startswith("instance(")]
    check_module_paths(model, frozen, what=side, where=config.where(*at, "frozen_modules"))


def _look_into_checkpoint(config: Config, at: tuple[str, ...], section: Any) -> None:
    """Refuse a stage's checkpoint that would run code, because torchdistill loads it without checking.

    A missing file is accepted: an earlier stage may write it, and torchdistill logs it otherwise.
    """
    path = section.get("src_ckpt")
    if not path:
        return
    try:
        is_address = str(path).startswith(("http://", "https://"))
        file = local_file(path) if is_address else Path(path).expanduser()
        section["src_ckpt"] = str(file)
        if file.is_file():
            read_file(file)
    except ValueError as error:
        raise ConfigError(f"{config.path}: {explain(error)} at {config.where(*at)}") from error


def _exactly_resumable(stage: Mapping[str, Any]) -> None:
    """Restart loader workers every epoch, because the RNG state of persistent workers cannot be saved."""
    for name in ("train_data_loader", "val_data_loader"):
        kwargs = (stage.get(name) or {}).get("kwargs") or {}
        if kwargs.get("persistent_workers"):
            kwargs["persistent_workers"] = False
            logger.warning("%s: persistent_workers is set to False, as resuming would otherwise not be exact", name)
