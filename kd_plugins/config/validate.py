"""Check the names in a config before training.

Checked are the keys of torchdistill's sections, names in its registries, and keyword arguments. Each error names the
YAML path and line, and the nearest known names.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
import torchvision
from torchdistill.core.interfaces import registry as processes
from torchdistill.datasets import registry as datasets
from torchdistill.losses import registry as losses
from torchdistill.models import registry as models
from torchdistill.optim import registry as optim

from .._checks import found_number, suggestion
from .._errors import ConfigError
from ..data.detection import collate_detection
from ..data.detection.box_images import BoxImages
from ..data.inside import base_datasets
from ..runtime.metrics import ACCURACY, METRICS
from . import keys
from .config import Config
from .keys import READ_KEYWORDS, Path, SectionChecks
from .renamed_keys import old_config
from .term_needs import data_need, unmet_need

PROCESSES = {
    "pre_epoch_process": processes.PRE_EPOCH_PROC_FUNC_DICT,
    "pre_forward_process": processes.PRE_FORWARD_PROC_FUNC_DICT,
    "post_forward_process": processes.POST_FORWARD_PROC_FUNC_DICT,
    "post_epoch_process": processes.POST_EPOCH_PROC_FUNC_DICT,
}


def stages(train: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the stages of a ``train`` section by name, in order; a single stage has the name ``""``."""
    if "stage1" not in train:
        return {"": train}
    named = {key: stage for key, stage in train.items() if str(key).startswith("stage")}
    return {f"stage{i}": named[f"stage{i}"] for i in range(1, len(named) + 1) if f"stage{i}" in named}


def placed_stages(train: Mapping[str, Any]) -> list[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """Return the YAML path and section of every stage, in order."""
    return [(("train", name) if name else ("train",), stage) for name, stage in stages(train).items()]


class Validator(SectionChecks):
    """Checks a built config together with its YAML."""

    def __init__(self, config: Config, built: Mapping[str, Any]) -> None:
        super().__init__(config)
        self.built = built

    def validate(self) -> None:
        """Check the whole config.

        Raises:
            ConfigError: the first mistake.
        """
        for finding in self.findings():
            raise finding

    def findings(self) -> list[ConfigError]:
        """Return all mistakes, at most one for each section, such as a loss term."""
        self.found, self.unread = [], []
        old = old_config(self.config)
        if old is not None:
            return [ConfigError(f"{self.config.path}: {old}")]
        self.note(self.known_keys, (), self.built, keys.TOP_KEYS)
        self.note(self._whole)
        return self.found

    def _whole(self) -> None:
        self.required((), self.built, ("models", "train"))
        model_sections = self.mapping(("models",), self.built["models"])
        for name, section in model_sections.items():
            self.note(self._model, ("models", name), section)
        with self.noted():
            if not {"student_model", "model"} & set(model_sections):
                raise self.error(("models",), "models needs a student_model, or a model to train without a teacher")
        train = self.mapping(("train",), self.built["train"])
        self.note(self.stage_names, train)
        for path, stage in placed_stages(train):
            self.note(self._stage, path, stage, has_teacher="teacher_model" in model_sections)
        with self.noted():
            if self.built.get("metric", ACCURACY) not in METRICS:
                found = self.built["metric"]
                raise self.error(("metric",), f"metric must be one of {', '.join(METRICS)}, found {found!r}")
        test = self.built.get("test") or {}
        self.note(self.known_keys, ("test",), test, ("test_data_loader",))
        if "test_data_loader" in test:
            self.note(self._loader, ("test", "test_data_loader"), test["test_data_loader"])

    def _stage(self, path: Path, stage: Any, *, has_teacher: bool) -> None:
        stage = self.mapping(path, stage)
        self.note(self.known_keys, path, stage, keys.STAGE_KEYS)
        with self.noted():
            self.required(path, stage, ("num_epochs",))
            self.above_zero((*path, "num_epochs"), stage["num_epochs"])
        for key in ("train_data_loader", "val_data_loader"):
            if stage.get(key):
                self.note(self._loader, (*path, key), stage[key])
        for side in ("teacher", "student") if has_teacher else ("model",):
            # A later stage inherits the sides that it does not define.
            if not stage.get(side) and path[-1] in ("train", "stage1"):
                frozen = ", requires_grad: False" if side == "teacher" else ""
                with self.noted():
                    if side == "model" and stage.get("student"):
                        message = "there is a student but no models.teacher_model: add it, or rename student to model"
                        raise self.error((*path, "student"), message)
                    raise self.error(path, f"{path[-1]} needs {side}: {{forward_proc: forward_batch_only{frozen}}}")
            if stage.get(side):
                self.note(self._side, (*path, side), stage[side])
        for key, table in PROCESSES.items():
            if key in stage:
                self.note(self.name, "process", (*path, key), stage[key], table)
        for part, known, table in (
            ("optimizer", keys.OPTIMIZER_KEYS, optim.OPTIM_DICT),
            ("scheduler", keys.SCHEDULER_KEYS, optim.SCHEDULER_DICT),
        ):
            if stage.get(part):
                at = (*path, part)
                with self.noted():
                    self.numbers(at, self.mapping(at, stage[part]))
                with self.noted():
                    self.known_keys(at, stage[part], known)
                    # torchdistill passes the first positional parameter: parameters or optimizer.
                    self.component(part, at, stage[part], table, given=1)
        self.required(path, stage, ("criterion",))
        self._criterion((*path, "criterion"), stage["criterion"], stage)

    def _criterion(self, path: Path, criterion: Any, stage: Mapping[str, Any]) -> None:
        criterion = self.mapping(path, criterion)
        if "sub_terms" in criterion:
            raise self.error((*path, "sub_terms"), "move sub_terms under kwargs (indent it once)")
        self.known_keys(path, criterion, keys.CRITERION_KEYS)
        self.required(path, criterion, ("key",))
        self.name("high-level loss", (*path, "key"), criterion["key"], losses.HIGH_LEVEL_LOSS_DICT)
        kwargs = self.mapping((*path, "kwargs"), criterion.get("kwargs") or {})
        for name in kwargs if criterion["key"] in READ_KEYWORDS else ():
            if name not in READ_KEYWORDS[criterion["key"]]:
                with self.noted():
                    message = f"{criterion['key']} takes no {name!r}: move a loss term under sub_terms (indent it once)"
                    raise self.error((*path, "kwargs", name), message)
        terms = kwargs.get("sub_terms") or {}
        at = (*path, "kwargs", "sub_terms")
        for name, term in self.mapping(at, terms).items():
            with self.noted():
                self._term((*at, name), term)
                missing = unmet_need(term, stage, self.built.get("datasets") or {})
                if missing:
                    raise self.error((*at, name), missing)

    def _term(self, path: Path, term: Any) -> None:
        term = self.mapping(path, term)
        self.known_keys(path, term, keys.TERM_KEYS)
        self.required(path, term, ("criterion", "weight"))
        weight = term["weight"]
        if not isinstance(weight, (int, float)) or isinstance(weight, bool):
            raise self.error((*path, "weight"), f"weight must be a number, {found_number(weight)}")
        low_level = {**losses.LOSS_DICT, **losses.LOW_LEVEL_LOSS_DICT}
        self.component("loss", (*path, "criterion"), term["criterion"], {**low_level, **losses.MIDDLE_LEVEL_LOSS_DICT})
        wrapper = term.get("criterion_wrapper")
        if wrapper:
            self.component("loss wrapper", (*path, "criterion_wrapper"), wrapper, losses.LOSS_WRAPPER_DICT, given=1)
            if wrapper["key"] == "SimpleLossWrapper":
                for part, place in wrapper["kwargs"].items():
                    self.tensor((*path, "criterion_wrapper", "kwargs", part), place)
        elif term["criterion"]["key"] not in losses.MIDDLE_LEVEL_LOSS_DICT:
            rule = "takes tensors, not io dicts: add criterion_wrapper: {key: SimpleLossWrapper, ...}"
            raise self.error((*path, "criterion"), f"{term['criterion']['key']} {rule}")
        self._values(path, term, wrapper)

    def _values(self, path: Path, term: Mapping[str, Any], wrapper: Any) -> None:
        """Build a term of this package once, so that an error about a value can name its place."""
        built = [losses.MIDDLE_LEVEL_LOSS_DICT.get(term["criterion"]["key"])]
        built += [losses.LOSS_WRAPPER_DICT[wrapper["key"]]] if wrapper else []
        if any(str(getattr(item, "__module__", "")).startswith("kd_plugins.") for item in built):
            try:
                # A loss may draw random numbers, which must not change the models' initialisation.
                with torch.random.fork_rng(devices=[]):
                    losses.get_mid_level_loss(term["criterion"], wrapper)
            except ValueError as error:
                raise self.error(path, str(error)) from error

    def _model(self, path: Path, section: Any) -> None:
        section = self.mapping(path, section)
        self.known_keys(path, section, keys.MODEL_KEYS)
        if section.get("repo_or_dir"):
            return
        names = {
            name: item
            for name, item in {**torchvision.models.detection.__dict__, **torchvision.models.__dict__}.items()
            if name[:1].islower() and inspect.isfunction(item)
        }
        self.component("model", path, section, {**models.MODEL_DICT, **names})

    def _side(self, path: Path, side: Any) -> None:
        side = self.mapping(path, side)
        self.known_keys(path, side, keys.SIDE_KEYS)
        self.required(path, side, ("forward_proc",))
        if not isinstance(side.get("requires_grad", True), bool):
            found = side["requires_grad"]
            raise self.error((*path, "requires_grad"), f"requires_grad must be True or False, found {found!r}")
        hooks = self.mapping((*path, "forward_hook"), side.get("forward_hook") or {})
        for io, paths in hooks.items():
            if paths is not None and not isinstance(paths, list):
                message = f"{io} must be a list of module paths, such as [{paths}], found {paths!r}"
                raise self.error((*path, "forward_hook", io), message)
        self.name("forward process", (*path, "forward_proc"), side["forward_proc"], processes.FORWARD_PROC_FUNC_DICT)
        wrapper = side.get("auxiliary_model_wrapper")
        if wrapper:
            where, table = (*path, "auxiliary_model_wrapper"), models.AUXILIARY_MODEL_WRAPPER_DICT
            given = ("student_model", "teacher_model", "device", "device_ids", "distributed")
            self.component("model wrapper", where, wrapper, table, given=given, needs_kwargs=False)

    def _loader(self, path: Path, loader: Any) -> None:
        loader = self.mapping(path, loader)
        self.known_keys(path, loader, keys.LOADER_KEYS)
        self.required(path, loader, ("dataset_id", "sampler", "kwargs"))
        ids = self.built.get("datasets") or {}
        if loader["dataset_id"] not in ids:
            found = loader["dataset_id"]
            message = f"unknown dataset id {found!r} ({suggestion(found, map(str, ids))})"
            raise self.error((*path, "dataset_id"), message)
        sampler = self.mapping((*path, "sampler"), loader["sampler"])
        self.known_keys((*path, "sampler"), sampler, keys.SAMPLER_KEYS)
        self.required((*path, "sampler"), sampler, ("class_or_func",))
        kind = sampler["class_or_func"]
        if not callable(kind):
            example = "!import_get {key: torch.utils.data.RandomSampler}"
            message = f"class_or_func must be a class, such as {example}, found {kind!r}"
            raise self.error((*path, "sampler", "class_or_func"), message)
        if loader.get("dataset_wrapper"):
            where, wrapper = (*path, "dataset_wrapper"), loader["dataset_wrapper"]
            table = datasets.DATASET_WRAPPER_DICT
            self.component("dataset wrapper", where, wrapper, table, given=1, needs_kwargs=False)
            missing = data_need(loader, ids[loader["dataset_id"]])
            if missing:
                raise self.error(where, missing)
            if wrapper["key"] == "TwoViews" and loader.get("collate_fn") != "collate_two_views":
                raise self.error(path, "TwoViews returns two images per sample: add collate_fn: collate_two_views")
        if isinstance(base_datasets(ids[loader["dataset_id"]])[0], BoxImages):
            name = collate_detection.__name__
            if loader.get("collate_fn") != name:
                raise self.error(path, f"{loader['dataset_id']} has images with boxes: add collate_fn: {name}")
        self.loader_kwargs((*path, "kwargs"), loader["kwargs"])
        if loader.get("collate_fn"):
            self.name("collate function", (*path, "collate_fn"), loader["collate_fn"], datasets.COLLATE_FUNC_DICT)
