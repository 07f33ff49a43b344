"""Refuse a config whose names cannot be right, before anything is trained.

What is checked: keys of torchdistill's own structure, names in its registries, and keywords of what is built. Each
finding names the YAML path and line, and the nearest known names.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torchvision
from torchdistill.core.interfaces import registry as processes
from torchdistill.datasets import registry as datasets
from torchdistill.losses import registry as losses
from torchdistill.models import registry as models
from torchdistill.optim import registry as optim

from .._checks import named_keywords, nearest, suggestion, unknown_name
from ..host.losses import PATH_KEYWORDS, MidLevelLoss
from .config import Config, ConfigError
from .term_needs import data_need, unmet_need

STAGE_KEYS = (
    "num_epochs", "log_freq", "train_data_loader", "val_data_loader", "model", "teacher", "student", "optimizer",
    "scheduler", "criterion", "pre_epoch_process", "pre_forward_process", "post_forward_process",
    "post_epoch_process",
)  # fmt: skip
LOADER_KEYS = (
    "dataset_id", "sampler", "batch_sampler", "collate_fn", "kwargs", "requires_supp", "dataset_wrapper",
)  # fmt: skip
SIDE_KEYS = (
    "forward_proc", "sequential", "adaptations", "wrapper", "requires_grad", "forward_hook",
    "auxiliary_model_wrapper", "frozen_modules", "src_ckpt", "dst_ckpt",
)  # fmt: skip
OPTIMIZER_KEYS = (
    "key", "kwargs", "module_wise_configs", "module_wise_kwargs", "filters_params", "max_grad_norm", "grad_accum_step",
)  # fmt: skip
TERM_KEYS = ("criterion", "criterion_wrapper", "weight")
MODEL_KEYS = ("key", "kwargs", "repo_or_dir", "src_ckpt", "dst_ckpt", "sync_bn", "quantized")
TOP_KEYS = ("dependencies", "datasets", "models", "train", "test")
PROCESSES = {
    "pre_epoch_process": processes.PRE_EPOCH_PROC_FUNC_DICT,
    "pre_forward_process": processes.PRE_FORWARD_PROC_FUNC_DICT,
    "post_forward_process": processes.POST_FORWARD_PROC_FUNC_DICT,
    "post_epoch_process": processes.POST_EPOCH_PROC_FUNC_DICT,
}

Path = tuple[object, ...]


def stages(train: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the stages of a ``train`` section by name, in order; a single-stage section has the name ``""``."""
    if "stage1" not in train:
        return {"": train}
    named = {key: stage for key, stage in train.items() if str(key).startswith("stage")}
    return {f"stage{i}": named[f"stage{i}"] for i in range(1, len(named) + 1) if f"stage{i}" in named}


class Validator:
    """Walks a built config beside its YAML."""

    def __init__(self, config: Config, built: Mapping[str, Any]) -> None:
        self.config = config
        self.built = built
        self._found: list[ConfigError] = []

    def validate(self) -> None:
        """Check the whole config.

        Raises:
            ConfigError: on the first thing that cannot be right.
        """
        for finding in self.findings():
            raise finding

    def findings(self) -> list[ConfigError]:
        """Return everything that cannot be right; of one section, such as a loss term, the first."""
        self._found = []
        with self._noted():
            self._known_keys((), self.built, TOP_KEYS)
        with self._noted():
            self._whole()
        return self._found

    @contextmanager
    def _noted(self) -> Iterator[None]:
        """Keep what a section's check raises, so that the next section is checked too."""
        try:
            yield
        except ConfigError as error:
            self._found.append(error)

    def _whole(self) -> None:
        self._required((), self.built, ("models", "train"))
        model_sections = self._mapping(("models",), self.built["models"])
        for name, section in model_sections.items():
            with self._noted():
                self._model(("models", name), section)
        with self._noted():
            if not {"student_model", "model"} & set(model_sections):
                raise self._error(("models",), "models needs a student_model (or a model, to train without a teacher)")
        train = self._mapping(("train",), self.built["train"])
        for name, stage in stages(train).items():
            path = ("train", name) if name else ("train",)
            with self._noted():
                self._stage(path, stage, has_teacher="teacher_model" in model_sections)
        test = self.built.get("test") or {}
        if "test_data_loader" in test:
            with self._noted():
                self._loader(("test", "test_data_loader"), test["test_data_loader"])

    def _stage(self, path: Path, stage: Any, *, has_teacher: bool) -> None:
        stage = self._mapping(path, stage)
        with self._noted():
            self._known_keys(path, stage, STAGE_KEYS)
        with self._noted():
            self._required(path, stage, ("num_epochs",))
            epochs = stage["num_epochs"]
            if not isinstance(epochs, int) or isinstance(epochs, bool) or epochs < 1:
                raise self._error((*path, "num_epochs"), f"num_epochs must be a whole number above 0, found {epochs!r}")
        for key in ("train_data_loader", "val_data_loader"):
            if stage.get(key):
                with self._noted():
                    self._loader((*path, key), stage[key])
        for side in ("teacher", "student") if has_teacher else ("model",):
            if stage.get(side):
                with self._noted():
                    self._side((*path, side), stage[side])
        for key, table in PROCESSES.items():
            if key in stage:
                with self._noted():
                    self._name("process", (*path, key), stage[key], table)
        if stage.get("optimizer"):
            with self._noted():
                self._known_keys((*path, "optimizer"), stage["optimizer"], OPTIMIZER_KEYS)
                # The first positional parameter is what torchdistill passes: parameters or optimizer.
                self._component("optimizer", (*path, "optimizer"), stage["optimizer"], optim.OPTIM_DICT, given=1)
        if stage.get("scheduler"):
            with self._noted():
                self._component("scheduler", (*path, "scheduler"), stage["scheduler"], optim.SCHEDULER_DICT, given=1)
        self._required(path, stage, ("criterion",))
        self._criterion((*path, "criterion"), stage["criterion"], stage)

    def _criterion(self, path: Path, criterion: Any, stage: Mapping[str, Any]) -> None:
        criterion = self._mapping(path, criterion)
        self._required(path, criterion, ("key",))
        self._name("high-level loss", (*path, "key"), criterion["key"], losses.HIGH_LEVEL_LOSS_DICT)
        terms = (criterion.get("kwargs") or {}).get("sub_terms") or {}
        at = (*path, "kwargs", "sub_terms")
        for name, term in self._mapping(at, terms).items():
            with self._noted():
                self._term((*at, name), term)
                missing = unmet_need(term, stage, self.built.get("datasets") or {})
                if missing:
                    raise self._error((*at, name), missing)

    def _term(self, path: Path, term: Any) -> None:
        term = self._mapping(path, term)
        self._known_keys(path, term, TERM_KEYS)
        self._required(path, term, ("criterion", "weight"))
        weight = term["weight"]
        if not isinstance(weight, (int, float)) or isinstance(weight, bool):
            raise self._error((*path, "weight"), f"weight must be a number, found {weight!r}")
        low_level = {**losses.LOSS_DICT, **losses.LOW_LEVEL_LOSS_DICT}
        self._component("loss", (*path, "criterion"), term["criterion"], {**low_level, **losses.MIDDLE_LEVEL_LOSS_DICT})
        wrapper = term.get("criterion_wrapper")
        if wrapper:
            self._component("loss wrapper", (*path, "criterion_wrapper"), wrapper, losses.LOSS_WRAPPER_DICT, given=1)
        elif term["criterion"]["key"] not in losses.MIDDLE_LEVEL_LOSS_DICT:
            key = term["criterion"]["key"]
            raise self._error(
                (*path, "criterion"),
                f"{key} takes tensors, not io dicts: add a criterion_wrapper, {{key: SimpleLossWrapper, ...}}",
            )
        self._values(path, term, wrapper)

    def _values(self, path: Path, term: Mapping[str, Any], wrapper: Any) -> None:
        """Build a term of ours once: a value out of range is found here, where its place is known."""
        built = [losses.MIDDLE_LEVEL_LOSS_DICT.get(term["criterion"]["key"])]
        built += [losses.LOSS_WRAPPER_DICT[wrapper["key"]]] if wrapper else []
        if any(str(getattr(item, "__module__", "")).startswith("kd_plugins.") for item in built):
            try:
                # A loss with a memory draws it at random, and the models must not depend on that.
                with torch.random.fork_rng(devices=[]):
                    losses.get_mid_level_loss(term["criterion"], wrapper)
            except ValueError as error:
                raise self._error(path, str(error)) from error

    def _model(self, path: Path, section: Any) -> None:
        section = self._mapping(path, section)
        self._known_keys(path, section, MODEL_KEYS)
        if section.get("repo_or_dir"):
            return
        names = {
            name: item
            for name, item in torchvision.models.__dict__.items()
            if name[:1].islower() and inspect.isfunction(item)
        }
        self._component("model", path, section, {**models.MODEL_DICT, **names})

    def _side(self, path: Path, side: Any) -> None:
        side = self._mapping(path, side)
        self._known_keys(path, side, SIDE_KEYS)
        self._required(path, side, ("forward_proc",))
        self._name("forward process", (*path, "forward_proc"), side["forward_proc"], processes.FORWARD_PROC_FUNC_DICT)
        wrapper = side.get("auxiliary_model_wrapper")
        if wrapper:
            where = (*path, "auxiliary_model_wrapper")
            given = ("student_model", "teacher_model", "device", "device_ids", "distributed")
            self._component(
                "model wrapper",
                where,
                wrapper,
                models.AUXILIARY_MODEL_WRAPPER_DICT,
                given=given,
                needs_kwargs=False,
            )

    def _loader(self, path: Path, loader: Any) -> None:
        loader = self._mapping(path, loader)
        self._known_keys(path, loader, LOADER_KEYS)
        self._required(path, loader, ("dataset_id", "sampler", "kwargs"))
        ids = self.built.get("datasets") or {}
        if loader["dataset_id"] not in ids:
            found = loader["dataset_id"]
            raise self._error(
                (*path, "dataset_id"), f"unknown dataset id {found!r} ({suggestion(found, map(str, ids))})"
            )
        sampler = self._mapping((*path, "sampler"), loader["sampler"])
        self._required((*path, "sampler"), sampler, ("class_or_func",))
        if loader.get("dataset_wrapper"):
            where = (*path, "dataset_wrapper")
            self._component(
                "dataset wrapper", where, loader["dataset_wrapper"], datasets.DATASET_WRAPPER_DICT, given=1,
                needs_kwargs=False,
            )  # fmt: skip
            two_views = loader["dataset_wrapper"]["key"] == "TwoViews"
            missing = data_need(loader, ids[loader["dataset_id"]])
            if missing:
                raise self._error((*path, "dataset_wrapper"), missing)
            if two_views and loader.get("collate_fn") != "collate_two_views":
                raise self._error(path, "TwoViews gives two images a sample; add collate_fn: collate_two_views")
        if loader.get("collate_fn"):
            self._name("collate function", (*path, "collate_fn"), loader["collate_fn"], datasets.COLLATE_FUNC_DICT)

    def _component(
        self,
        what: str,
        path: Path,
        section: Any,
        table: Mapping[str, Callable[..., Any]],
        *,
        given: int | Iterable[str] = 0,
        needs_kwargs: bool = True,
    ) -> None:
        """Check a ``{key, kwargs}`` section against what the key stands for.

        ``given`` is what torchdistill passes by itself: a number of positional arguments, or names.
        """
        section = self._mapping(path, section)
        self._required(path, section, ("key", "kwargs") if needs_kwargs else ("key",))
        self._name(what, (*path, "key"), section["key"], table)
        kwargs = section.get("kwargs")
        if kwargs is None:
            if needs_kwargs:
                raise self._error((*path, "kwargs"), "kwargs is empty; write kwargs: {} when there is nothing to set")
            kwargs = {}
        kwargs = self._mapping((*path, "kwargs"), kwargs)
        factory = table[section["key"]]
        try:
            named, takes_any = named_keywords(factory)
        except (TypeError, ValueError):
            return  # a builtin without a signature
        if inspect.isclass(factory) and issubclass(factory, MidLevelLoss):
            takes_any = False
            named = {
                **{name: named[name] for name in PATH_KEYWORDS},
                **named_keywords(factory.tensor_loss)[0],
            }
        names = list(named)
        passed = set(names[:given]) if isinstance(given, int) else set(given)
        own = [name for name in names if name not in passed]
        self._keywords(section["key"], (*path, "kwargs"), kwargs, own, takes_any=takes_any)
        required = [name for name in own if named[name].default is inspect.Parameter.empty]
        missing = [name for name in required if name not in kwargs]
        if missing and not section.get("args"):
            raise self._error((*path, "kwargs"), f"{section['key']} needs the keyword {missing[0]!r}")

    def _keywords(self, key: str, path: Path, kwargs: Mapping[str, Any], own: list[str], *, takes_any: bool) -> None:
        for name in kwargs:
            if name in own:
                continue
            # What swallows any keyword still gets told about a near miss: torchdistill's losses ignore it.
            if not takes_any or [n for n in nearest(name, own, count=1) if n not in kwargs and _typo(name, n)]:
                raise self._error((*path, name), f"{key} takes no keyword {name!r} ({suggestion(name, own)})")

    def _known_keys(self, path: Path, section: Any, known: Iterable[str]) -> None:
        known = tuple(known)
        for key in self._mapping(path, section):
            if key in known or (path == ("train",) and str(key).startswith("stage")):
                continue
            near = [n for n in nearest(key, known, count=1) if _typo(str(key), n)]
            if near:
                raise self._error((*path, key), f"unknown key {key!r} ({suggestion(key, known)})")

    def _required(self, path: Path, section: Mapping[str, Any], keys: Iterable[str]) -> None:
        for key in keys:
            if key not in section:
                raise self._error(path, f"{'.'.join(map(str, path)) or 'the config'} needs {key!r}")

    def _name(self, what: str, path: Path, name: object, table: Mapping[str, Any]) -> None:
        if not isinstance(name, str) or name not in table:
            where = self.config.where(*path)
            raise ConfigError(f"{self.config.path}: {unknown_name(what, name, table, where=where)}")

    def _mapping(self, path: Path, value: Any) -> Mapping[str, Any]:
        if not isinstance(value, Mapping):
            raise self._error(path, f"{'.'.join(map(str, path))} must be a mapping, found {value!r}")
        return value

    def _error(self, path: Path, message: str) -> ConfigError:
        place = f" at {self.config.where(*path)}" if path else ""
        return ConfigError(f"{self.config.path}: {message}{place}")


def _typo(found: str, known: str) -> bool:
    """Tell a slip of the keys from another word: few letters differ."""
    return difflib.SequenceMatcher(None, found.lower(), known.lower()).ratio() >= 0.8
