"""Trained and frozen parts of a teacher, and their training or eval modes."""

from __future__ import annotations

from torch import nn


def set_modes(teacher: nn.Module) -> None:
    """Put the parts of a teacher that require a gradient into training mode and everything else into eval mode.

    Some methods train a part of an otherwise frozen teacher: a paraphraser (FT), a projection (CRD), a head for
    self-supervision (SSKD).
    """
    required = [p.requires_grad for p in teacher.parameters()]
    if not any(required) or all(required):
        teacher.train(any(required))
        return
    teacher.training = True
    for child in teacher.children():
        if next(child.parameters(), None) is None:
            child.train()
        else:
            set_modes(child)


def is_trained(teacher: nn.Module) -> bool:
    """Return whether any part of a teacher is trained."""
    return any(p.requires_grad for p in teacher.parameters())


def frozen_tensors(teacher: nn.Module) -> list[str]:
    """Return the state dict names of parameters without gradient and, after :func:`set_modes`, of frozen buffers."""
    frozen = {id(p) for p in teacher.parameters() if not p.requires_grad}
    for module in teacher.modules():
        if not module.training:
            frozen |= {id(buffer) for buffer in module.buffers(recurse=False)}
    # State dict names may differ from module paths: an ensemble's leave out the wrappers.
    return [name for name, tensor in teacher.state_dict(keep_vars=True).items() if id(tensor) in frozen]
