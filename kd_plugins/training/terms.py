"""Record the value of every loss term, and stop if one is not finite."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..host.boxes.processes import criterion_terms

TOTAL = "loss"
AT_MATCH = "_at_match"


class NonFiniteLossError(ValueError):
    """A loss term became NaN or infinite; the message names it."""


class LossTerms:
    """Records the terms of a criterion by forward hooks; ``device`` is not synchronised before :meth:`means`.

    Also recorded are the losses that the student computes itself, such as a detector's, by their own names, and
    ``<term>_at_match`` of terms that are not 0 where the student equals the teacher.
    """

    def __init__(self, criterion: nn.Module, device: torch.device) -> None:
        self.device = device
        self.names: list[str] = [TOTAL]
        self.latest: dict[str, Tensor] = {}
        self.running = ""
        self._sums = torch.zeros(0, dtype=torch.float64, device=device)
        self._handles = [criterion.register_forward_pre_hook(self._keep_own)]
        for name, term in criterion_terms(criterion).items():
            self.names += [name, *([f"{name}{AT_MATCH}"] if getattr(term, "shows_match", False) else [])]
            self._handles.append(term.register_forward_pre_hook(partial(self._start, name)))
            self._handles.append(term.register_forward_hook(partial(self._keep, name)))
        self.reset()

    def _keep_own(self, criterion: nn.Module, inputs: Any) -> None:
        """Keep the losses that the student computed; their names are known from the first step on."""
        own = inputs[1] if getattr(criterion, "model_loss_factor", None) and len(inputs) > 1 else {}
        for name, value in own.items():
            if name not in self.names:
                self.names.append(name)
                self._sums = torch.cat([self._sums, self._sums.new_zeros(1)])
            self.latest[name] = value.detach()

    def _start(self, name: str, *_call: Any) -> None:
        self.running = name

    def _keep(self, name: str, module: Any, inputs: Any, value: Any) -> None:
        self.running = ""
        if isinstance(value, Tensor):
            self.latest[name] = value.detach()
        if f"{name}{AT_MATCH}" in self.names:
            self.latest[f"{name}{AT_MATCH}"] = module.at_match(inputs[1])

    def reset(self) -> None:
        """Start a new epoch."""
        self._sums = torch.zeros(len(self.names), dtype=torch.float64, device=self.device)
        self._count = 0

    def close(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def place(self) -> str:
        """Return what was running at a failure: a loss term, or the forward pass before them."""
        return f"loss term {self.running!r}" if self.running else "the forward pass of teacher or student"

    def add(self, total: Tensor, batch_size: int) -> PendingValues:
        """Add one step's values, weighted by batch size; return them while they are copied to the host."""
        zero = total.new_zeros(())
        values = [total.detach(), *(self.latest.get(name, zero) for name in self.names[1:])]
        stacked = torch.stack([value.double().reshape(()) for value in values])
        self._sums.add_(stacked, alpha=batch_size)
        self._count += batch_size
        return PendingValues(self.names, stacked)

    def sums(self) -> Tensor:
        """Return the sums and, last, the number of samples, to be reduced over processes."""
        return torch.cat([self._sums, self._sums.new_tensor([self._count])])

    def means(self, sums: Tensor) -> dict[str, float]:
        """Return every term's mean over the samples that ``sums`` counts."""
        *totals, count = sums.tolist()
        return {name: total / max(count, 1) for name, total in zip(self.names, totals, strict=True)}


class PendingValues:
    """The loss values of one step. On CUDA, the copy to the host overlaps the launch of the backward pass."""

    def __init__(self, names: list[str], values: Tensor) -> None:
        self.names = names
        self._event: torch.cuda.Event | None = None
        self._host = values
        if values.is_cuda:
            self._host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            self._host.copy_(values, non_blocking=True)
            self._event = torch.cuda.Event()
            self._event.record()

    def check(self, step: str) -> dict[str, float]:
        """Return the values by name; raise :class:`NonFiniteLossError` with the ``step`` if one is not finite."""
        if self._event is not None:
            self._event.synchronize()
        values = dict(zip(self.names, self._host.tolist(), strict=True))
        bad = [name for name, value in values.items() if not math.isfinite(value)]
        if not bad:
            return values
        terms = [name for name in bad if name != TOTAL] or bad
        shown = ", ".join(f"{name} = {values[name]}" for name in terms)
        raise NonFiniteLossError(
            f"{step}: the loss is not finite: {shown}. Training stopped before the weights changed. Lower the learning "
            "rate or the weight of the term, or check its input"
        )
