"""Parameters that an optimizer updates, and trainable ones missing from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn


def optimised_by(optimizer: torch.optim.Optimizer) -> set[int]:
    """Return the ids of the parameters in an optimizer's groups."""
    return {id(p) for group in optimizer.param_groups for p in group["params"]}


def left_out(student: nn.Module, terms: Mapping[str, nn.Module], optimised: set[int]) -> str:
    """Return a message that names trainable parameters missing from the optimizer, or an empty string."""
    named = [(f"student.{name}", p) for name, p in student.named_parameters()]
    named += [(f"loss.{term}.{name}", p) for term, module in terms.items() for name, p in module.named_parameters()]
    missed = [name for name, p in named if p.requires_grad and id(p) not in optimised]
    if not missed:
        return ""
    return (
        f"{len(missed)} parameters are in no parameter group of the optimizer and will not be trained: "
        f"{some_of(missed)}; name their modules in module_wise_configs, or remove module_wise_configs"
    )


def some_of(names: Sequence[str]) -> str:
    """Return the first three names, joined by commas, with ``, ...`` for more."""
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
