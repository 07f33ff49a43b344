"""A hash that two models share if and only if every bit of their weights is the same."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable

import torch
from torch import Tensor, nn


def fingerprint(model: nn.Module, names: Collection[str] | None = None) -> str:
    """Return a hash of a model's parameters and buffers: equal if and only if every bit is.

    Args:
        model: the model.
        names: of the tensors in its state dict that count; all by default.
    """
    state = model.state_dict()
    return tensors_fingerprint((name, state[name]) for name in (state if names is None else names))


def tensors_fingerprint(named: Iterable[tuple[str, Tensor]]) -> str:
    """Return a hash of tensors and their names."""
    digest = hashlib.sha256()
    for name, tensor in named:
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
