"""State dicts in the content of a checkpoint file, and the choice among them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

RAW_KEYS = ("model", "state_dict", "net")
AVERAGED_KEYS = ("state_dict_ema", "model_ema")
WRAPPERS = ("module.", "_orig_mod.")
COUNTER = "num_batches_tracked"
DEPTH = 4


@dataclass(frozen=True, eq=False)
class Weights:
    """One state dict in a file, and the keys that lead to it, outermost first."""

    keys: tuple[str, ...]
    state: dict[str, Tensor]

    @property
    def averaged(self) -> bool:
        """Whether a key says that these weights are an average over training steps."""
        return any(word in ("ema", "swa") for key in self.keys for word in re.split(r"[^a-z]+", key.lower()))

    @property
    def rank(self) -> tuple[int, int]:
        """Sort key: bare state dicts first, then usual keys, then the larger state dict."""
        usual = [(), *((key,) for key in (*RAW_KEYS, *AVERAGED_KEYS))]
        return (usual.index(self.keys) if self.keys in usual else len(usual), -len(self.state))

    @property
    def is_usual(self) -> bool:
        """Whether it is at a place where most checkpoints have their weights."""
        return self.rank[0] <= len(RAW_KEYS) + len(AVERAGED_KEYS)

    @property
    def place(self) -> str:
        """The keys as code, such as ``['checkpoint']['model']``."""
        return "".join(f"[{key!r}]" for key in self.keys)


def state_dicts(found: Any, keys: tuple[str, ...] = ()) -> Iterator[Weights]:
    """Yield every dictionary of names and tensors in nested dictionaries."""
    if not isinstance(found, Mapping) or not found or not all(isinstance(name, str) for name in found):
        return
    if all(isinstance(value, Tensor) for value in found.values()):
        yield Weights(keys, dict(found))
    elif len(keys) < DEPTH:
        for key, inner in found.items():
            yield from state_dicts(inner, (*keys, key))


def without_wrappers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict without the prefixes of parallel, compiled and averaged models."""
    state = dict(state)
    if len(state) > 1 and all(name.startswith("module.") for name in state if name != "n_averaged"):
        state.pop("n_averaged", None)  # of torch.optim.swa_utils.AveragedModel
    while state and (prefix := next((p for p in WRAPPERS if all(name.startswith(p) for name in state)), None)):
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def prefixes(state: Mapping[str, Tensor], expected: Iterable[str]) -> list[str]:
    """Return the prefixes under which ``state`` has all expected names, ignoring ``num_batches_tracked``."""
    needed = [name for name in expected if not is_counter(name)]
    if not needed:
        return [""]
    starts = [name.removesuffix(needed[0]) for name in state if name.endswith(needed[0])]
    return [p for p in starts if (not p or p[-1] == ".") and all(p + name in state for name in needed)]


def common_prefix(state: Mapping[str, Tensor], expected: Iterable[str]) -> str | None:
    """Return the prefix that turns the expected names into those of ``state``; None if there is none."""
    names = set(expected)
    for prefix in prefixes(state, names):
        if all(name.startswith(prefix) and name[len(prefix) :] in names for name in state):
            return prefix
    return None


def is_counter(name: str) -> bool:
    """Return whether an entry is ``num_batches_tracked``, which files of PyTorch 0.4 and older lack."""
    return name.rpartition(".")[2] == COUNTER


def preferred(several: list[Weights], *, use_ema: bool = True) -> Weights:
    """Return the most likely weights: averaged or not, then by the usual keys, then the largest."""
    return min(several, key=lambda weights: (weights.averaged is not use_ema, weights.rank))
