"""Hash of a model's weights, equal only for bitwise equal weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from .._checks import unknown_name


def fingerprint(model: nn.Module, names: Iterable[str] | None = None) -> str:
    """Return a hash of a model's state dict, or of the entries ``names``: equal if and only if every bit is."""
    state = model.state_dict()
    if names is not None:
        wanted = set(names)
        for name in wanted - state.keys():
            raise unknown_name(f"entry in the state dict of {type(model).__name__}:", name, state, where="names")
        state = {name: tensor for name, tensor in state.items() if name in wanted}
    return tensors_fingerprint(state.items())


def tensors_fingerprint(named: Iterable[tuple[str, Tensor]]) -> str:
    """Return a hash of tensors and their names."""
    digest = hashlib.sha256()
    for name, tensor in named:
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
