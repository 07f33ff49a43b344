"""Permanent freezing of models: eval mode and parameters without gradient."""

from __future__ import annotations

from typing import Any, TypeVar

from torch import nn

ModelT = TypeVar("ModelT", bound=nn.Module)


def freeze(model: ModelT) -> ModelT:
    """Pin ``model`` to eval mode and to parameters without gradient, for good.

    A training loop may call ``model.train()`` or enable gradients again between two stages, and a teacher's batch-norm
    statistics would drift. So a forward pre-hook restores the frozen state before each call. The hook is a plain
    function: the model can still be copied, pickled and saved, and its state dict names do not change. It runs on calls
    of ``model`` itself, not on calls of a child module alone.

    Args:
        model: changed in place.

    Returns:
        The same ``model``.

    Example:
        >>> import torch
        >>> teacher = freeze(nn.BatchNorm1d(3)).train()
        >>> _ = teacher(torch.randn(8, 3))
        >>> teacher.training, teacher.running_mean.tolist()
        (False, [0.0, 0.0, 0.0])
    """
    _hold_still(model)
    if not is_frozen(model):
        model.register_forward_pre_hook(_hold_still)
    return model


def is_frozen(model: nn.Module) -> bool:
    """Return whether ``model`` was given to :func:`freeze`.

    Example:
        >>> is_frozen(nn.Linear(2, 2)), is_frozen(freeze(nn.Linear(2, 2)))
        (False, True)
    """
    return _hold_still in model._forward_pre_hooks.values()


def _hold_still(module: nn.Module, args: tuple[Any, ...] = ()) -> None:
    if any(part.training for part in module.modules()):
        module.eval()
    for parameter in module.parameters():
        if parameter.requires_grad:
            parameter.requires_grad_(False)
