"""Checks for any section of a config: torchdistill's keys, registered names and keyword arguments."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch.utils.data import DataLoader

from .._checks import found_number, named_keywords, nearest, suggestion, unknown_name, unquoted_number
from .._errors import ConfigError
from ..host.losses.io_dict import IO_TYPES
from ..host.losses.mid_level import MidLevelLoss
from .config import Config
from .renamed_keys import renamed

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
SCHEDULER_KEYS = ("key", "kwargs", "scheduling_step")
CRITERION_KEYS = ("key", "kwargs", "func2extract_model_loss")
SAMPLER_KEYS = ("class_or_func", "kwargs")
TERM_KEYS = ("criterion", "criterion_wrapper", "weight")
MODEL_KEYS = ("key", "kwargs", "repo_or_dir", "src_ckpt", "dst_ckpt", "sync_bn", "quantized")
TOP_KEYS = ("dependencies", "datasets", "models", "train", "test", "metric")

TENSOR_KEYS = ("is_from_teacher", "module_path", "io", "uses_label")
"""Keys of a tensor that ``SimpleLossWrapper`` passes to a loss."""
READ_KEYWORDS = {
    "SimpleLossWrapper": ("input", "target"),
    "WeightedSumLoss": ("sub_terms", "model_term"),
}
"""Keywords that torchdistill reads although the signature takes any; the first one is required."""

Path = tuple[object, ...]


def kwargs_of(section: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return the keywords of a ``{key, kwargs}`` section; empty if there are none."""
    return (section or {}).get("kwargs") or {}


class SectionChecks:
    """Checks of single sections, which raise errors; a ``noted`` block collects them instead.

    Attributes:
        found: the collected errors.
        unread: YAML paths of unused keys that are no typo of a known key.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.found: list[ConfigError] = []
        self.unread: list[Path] = []

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Collect the error of a block, so that the next section is checked too."""
        try:
            yield
        except ConfigError as error:
            self.found.append(error)

    def note(self, rule: Callable[..., object], *args: Any, **kwargs: Any) -> None:
        """Call a check and collect its error."""
        with self.noted():
            rule(*args, **kwargs)

    def component(
        self,
        what: str,
        path: Path,
        section: Any,
        table: Mapping[str, Callable[..., Any]],
        *,
        given: int | Iterable[str] = 0,
        needs_kwargs: bool = True,
    ) -> None:
        """Check a ``{key, kwargs}`` section against the signature of the registered callable.

        ``given`` lists the arguments that torchdistill passes: a number of positional arguments, or names.
        """
        section = self.mapping(path, section)
        self.required(path, section, ("key", "kwargs") if needs_kwargs else ("key",))
        self.name(what, (*path, "key"), section["key"], table)
        kwargs = section.get("kwargs")
        if kwargs is None and needs_kwargs:
            raise self.error((*path, "kwargs"), "kwargs is empty; write kwargs: {} to set nothing")
        kwargs = self.mapping((*path, "kwargs"), {} if kwargs is None else kwargs)
        factory = table[section["key"]]
        try:
            named, takes_any = named_keywords(factory)
        except (TypeError, ValueError):
            return  # a builtin without a signature
        if inspect.isclass(factory) and issubclass(factory, MidLevelLoss):
            takes_any = False
            # letKD's labels are the batch's.
            paths = {name: named[name] for name in factory.path_keywords() if name in named}
            named = paths | named_keywords(factory.tensor_loss)[0]
        names = list(named)
        passed = set(names[:given]) if isinstance(given, int) else set(given)
        own = [name for name in names if name not in passed]
        required = [name for name in own if named[name].default is inspect.Parameter.empty]
        if section["key"] in READ_KEYWORDS:
            own = list(READ_KEYWORDS[section["key"]])
            takes_any, required = False, own[:1]
        self.keywords(section["key"], (*path, "kwargs"), kwargs, own, takes_any=takes_any)
        missing = [name for name in required if name not in kwargs]
        if missing and not section.get("args"):
            raise self.error((*path, "kwargs"), f"{section['key']} needs the keyword {missing[0]!r}")

    def keywords(
        self, key: str, path: Path, kwargs: Mapping[str, Any], own: list[str], *, takes_any: bool = False
    ) -> None:
        """Refuse a keyword that ``key`` does not take."""
        for name in kwargs:
            if name in own:
                continue
            # Report typos even if any keyword is accepted: torchdistill's losses ignore unknown ones.
            if not takes_any or [n for n in nearest(name, own, count=1) if n not in kwargs and _typo(name, n)]:
                raise self.error((*path, name), f"{key} takes no keyword {name!r} ({suggestion(name, own)})")

    def known_keys(self, path: Path, section: Any, known: Iterable[str]) -> None:
        """Refuse typos of known keys; other keys may be the user's own."""
        known = tuple(known)
        for key in self.mapping(path, section):
            if key in known or (path == ("train",) and str(key).startswith("stage")):
                continue
            now = renamed(key, section, known)
            if now is not None:
                raise self.error((*path, key), f"{key} was renamed to {now} in torchdistill 1.0")
            if any(_typo(str(key), near) for near in nearest(key, known, count=1)):
                raise self.error((*path, key), f"unknown key {key!r} ({suggestion(key, known)})")
            # The user's own keys at the top level, and values that aliases refer to, are used.
            if path and section[key] is not None and not self.config.is_referred_to(*path, key):
                self.unread.append((*path, key))

    def stage_names(self, train: Mapping[Any, Any]) -> None:
        """Refuse stages that are not named stage1, stage2 and so on, without gaps."""
        found = [str(key) for key in train if str(key).lower().startswith("stage")]
        wanted = [f"stage{number}" for number in range(1, len(found) + 1)]
        for name in found:
            if name not in wanted:
                raise self.error(("train", name), f"stages must be named {', '.join(wanted)}, found {name}")

    def numbers(self, path: Path, kwargs: Any) -> None:
        """Refuse strings that look like numbers: YAML reads 1e-3 as a string."""
        for key, value in kwargs.items() if isinstance(kwargs, Mapping) else enumerate(kwargs):
            if unquoted_number(value) and key not in ("module", "key"):  # a module may be named '0'
                name = key if isinstance(kwargs, Mapping) else path[-1]
                raise self.error((*path, key), f"{name} must be a number, {found_number(value)}")
            if isinstance(value, (Mapping, list)):
                self.numbers((*path, key), value)

    def tensor(self, path: Path, place: Any) -> None:
        """Check the source of a tensor of ``SimpleLossWrapper``."""
        for key in self.mapping(path, place):
            if key not in TENSOR_KEYS:
                raise self.error((*path, key), f"{path[-1]} takes no {key!r} ({suggestion(key, TENSOR_KEYS)})")
        wanted = () if place.get("uses_label") else ("is_from_teacher", "module_path", "io")
        self.required(path, place, wanted)
        if "io" in wanted and place["io"] not in IO_TYPES:
            raise self.error((*path, "io"), f"io must be input or output, found {place['io']!r}")
        if "module_path" in wanted and not isinstance(place["module_path"], str):
            rule = "must be the path of a module, or '.' for the model itself"
            raise self.error((*path, "module_path"), f"module_path {rule}, found {place['module_path']!r}")

    def loader_kwargs(self, path: Path, kwargs: Any) -> None:
        """Check the keywords of a loader."""
        self.keywords("DataLoader", path, self.mapping(path, kwargs), list(named_keywords(DataLoader)[0]))
        if kwargs.get("batch_size") is not None:
            self.above_zero((*path, "batch_size"), kwargs["batch_size"])
        workers = kwargs.get("num_workers", 0)
        if not isinstance(workers, int) or workers < 0:
            rule = f"num_workers must be a whole number, 0 or more, found {workers!r}"
            raise self.error((*path, "num_workers"), rule)
        if kwargs.get("shuffle"):
            raise self.error((*path, "shuffle"), "shuffle cannot be combined with a sampler: remove it")

    def above_zero(self, path: Path, value: Any) -> None:
        """Refuse anything but a whole number above 0."""
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise self.error(path, f"{path[-1]} must be a whole number above 0, found {value!r}")

    def required(self, path: Path, section: Mapping[str, Any], keys: Iterable[str]) -> None:
        """Refuse a section that lacks one of the keys."""
        for key in keys:
            if key not in section:
                raise self.error(path, f"{'.'.join(map(str, path)) or 'the config'} needs {key!r}")

    def name(self, what: str, path: Path, name: object, table: Mapping[str, Any]) -> None:
        """Refuse a name that is not registered."""
        if not isinstance(name, str) or name not in table:
            where = self.config.where(*path)
            raise ConfigError(f"{self.config.path}: {unknown_name(what, name, table, where=where)}")

    def mapping(self, path: Path, value: Any) -> Mapping[str, Any]:
        """Return a section; refuse anything but a mapping."""
        if not isinstance(value, Mapping):
            raise self.error(path, f"{'.'.join(map(str, path))} must be a mapping, found {value!r}")
        return value

    def error(self, path: Path, message: str) -> ConfigError:
        """Return an error with the YAML path and line."""
        place = f" at {self.config.where(*path)}" if path else ""
        return ConfigError(f"{self.config.path}: {message}{place}")


def _typo(found: str, known: str) -> bool:
    """Tell whether a word is a typo of a known one: few letters differ, or only their order."""
    return sorted(found) == sorted(known) or difflib.SequenceMatcher(None, found.lower(), known.lower()).ratio() >= 0.8
