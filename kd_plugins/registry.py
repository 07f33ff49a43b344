"""Registration of the entries in torchdistill's tables."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# torchdistill.datasets looks up torchvision.datasets among the imported modules.
import torchvision.datasets  # noqa: F401
from torchdistill.core.interfaces import registry as processes
from torchdistill.datasets import registry as datasets
from torchdistill.losses import registry as losses
from torchdistill.models import registry as models

from .entries import ENTRIES, Entry
from .host.losses.mid_level import mid_level_loss


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


def register_all() -> None:
    """Put every entry into torchdistill's registries; doing it again changes nothing.

    Raises:
        ValueError: when a key is taken by somebody else.
    """
    for entry in ENTRIES:
        if entry.kind not in KINDS:
            continue  # named inside other entries
        kind = KINDS[entry.kind]
        holder = kind.table.get(entry.key)
        if holder is None:
            kind.register(_item(entry), key=entry.key)
        elif not _is_ours(holder):
            name = f"{getattr(holder, '__module__', '?')}.{getattr(holder, '__qualname__', holder)}"
            raise ValueError(
                f"the {kind.label} key {entry.key!r} is already held by {name}; register that one under "
                "another key, or import kd_plugins in another process"
            )


def _item(entry: Entry) -> Any:
    item = pkgutil.resolve_name(entry.path)
    return item if entry.reads is None else mid_level_loss(item, **vars(entry.reads))


def _is_ours(holder: Any) -> bool:
    return str(getattr(holder, "__module__", "")).split(".")[0] == __name__.split(".")[0]
