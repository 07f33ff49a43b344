"""The one table of everything that torchdistill configs can name."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

# torchdistill.datasets looks up torchvision.datasets among the imported modules.
import torchvision.datasets  # noqa: F401
from torchdistill.core.interfaces import registry as processes
from torchdistill.datasets import registry as datasets
from torchdistill.losses import registry as losses
from torchdistill.models import registry as models

from .host.boxes.processes import kd_pre_epoch
from .host.losses.mid_level import mid_level_loss
from .host.losses.transform_steps import TRANSFORMS
from .host.losses.wrappers import LogitStandardization, SalientFeatureMask, TransformedLoss
from .host.model_with_logits import model_with_logits
from .host.students.feature import FeatureStudent
from .host.teachers.model import frozen_teacher
from .host.teachers.wrapper import FrozenTeacher
from .methods import METHODS, Loss
from .models import CIFAR_MODELS, timm_model


@dataclass(frozen=True)
class Entry:
    """One registered name: its kind, key, class or function, what it is, and the paper it comes from."""

    kind: str
    key: str
    item: Callable[..., Any]
    summary: str
    paper: str = ""


@dataclass(frozen=True)
class Kind:
    """One of torchdistill's registries: what it is called in messages, its table and its decorator."""

    label: str
    table: dict[str, Any]
    register: Callable[..., Any]


KINDS: dict[str, Kind] = {
    "losses": Kind("loss", losses.MIDDLE_LEVEL_LOSS_DICT, losses.register_mid_level_loss),
    "loss-wrappers": Kind("loss wrapper", losses.LOSS_WRAPPER_DICT, losses.register_loss_wrapper),
    "model-wrappers": Kind(
        "model wrapper", models.AUXILIARY_MODEL_WRAPPER_DICT, models.register_auxiliary_model_wrapper
    ),
    "models": Kind("model", models.MODEL_DICT, models.register_model),
    "processes": Kind("pre-epoch process", processes.PRE_EPOCH_PROC_FUNC_DICT, processes.register_pre_epoch_proc_func),
    "dataset-wrappers": Kind("dataset wrapper", datasets.DATASET_WRAPPER_DICT, datasets.register_dataset_wrapper),
    "collate-functions": Kind("collate function", datasets.COLLATE_FUNC_DICT, datasets.register_collate_func),
}


REGRESSORS = "regressors"


def _loss(loss: Loss, paper: str) -> Entry:
    item = pkgutil.resolve_name(loss.path)
    made = item if loss.reads is None else mid_level_loss(item, **vars(loss.reads))
    return Entry("losses", loss.key, made, loss.summary, loss.paper or paper)


def _entries() -> Iterator[Entry]:
    """Yield what the methods bring, and what all of them share."""
    for method in METHODS.values():
        for loss in method.losses:
            yield _loss(loss, method.paper)
    yield Entry("loss-wrappers", "TransformedLoss", TransformedLoss, "transforms before any mid-level loss")
    lskd, sfkd = METHODS["lskd"].paper, METHODS["sfkd"].paper
    yield Entry("loss-wrappers", "LogitStandardization", LogitStandardization, "Z-score before any logit loss", lskd)
    yield Entry("loss-wrappers", "SalientFeatureMask", SalientFeatureMask, "teacher's largest entries, any loss", sfkd)
    yield Entry("model-wrappers", "FrozenTeacher", FrozenTeacher, "teacher in eval mode, its own normalisation")
    yield Entry("model-wrappers", "FeatureStudent", FeatureStudent, "student that shows its features as maps")
    for method in METHODS.values():
        for part in method.parts:
            if part.kind == REGRESSORS:
                continue  # which RegressorStudent looks up
            yield Entry(part.kind, part.key, pkgutil.resolve_name(part.path), part.summary, part.paper or method.paper)
    yield Entry("models", "timm_model", timm_model, "any timm model by name (model_name)")
    yield Entry("models", "frozen_teacher", frozen_teacher, "a teacher that normalises and resizes its batches itself")
    yield Entry("models", "model_with_logits", model_with_logits, "the logits of a model that returns several outputs")
    for key, build in CIFAR_MODELS.items():
        yield Entry("models", key, build, str(build.__doc__).split(".\n")[0])
    yield Entry("processes", "kd_pre_epoch", kd_pre_epoch, "teacher to eval mode, epoch to losses and wrappers")


ENTRIES: tuple[Entry, ...] = tuple(_entries())


def nested_entries() -> Iterator[Entry]:
    """Yield what configs name inside other entries: regressors of ``RegressorStudent``, transforms of losses."""
    for method in METHODS.values():
        for part in method.parts:
            if part.kind == REGRESSORS:
                item = pkgutil.resolve_name(part.path)
                yield Entry(part.kind, part.key, item, part.summary, part.paper or method.paper)
    for key, transform in TRANSFORMS.items():
        yield Entry("transforms", key, transform.function, transform.summary, transform.paper)


def register_all() -> None:
    """Put every entry into torchdistill's registries; doing it again changes nothing.

    Raises:
        ValueError: when a key is taken by somebody else.
    """
    for entry in ENTRIES:
        kind = KINDS[entry.kind]
        holder = kind.table.get(entry.key)
        if holder is not None and not _is_ours(holder):
            name = f"{getattr(holder, '__module__', '?')}.{getattr(holder, '__qualname__', holder)}"
            raise ValueError(
                f"the {kind.label} key {entry.key!r} is already held by {name}; register that one under "
                "another key, or import kd_plugins in another process"
            )
        kind.register(entry.item, key=entry.key)


def _is_ours(holder: Any) -> bool:
    return str(getattr(holder, "__module__", "")).split(".")[0] == __name__.split(".")[0]
