"""One training step of a box: mixed precision, accumulation, clipping, step-wise schedules."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts, ReduceLROnPlateau

from .._checks import check_choice, widened_indices
from ..data.loading import to_device
from ..host.boxes.processes import set_backward_scale
from ..runtime.failures import explained
from .terms import LossTerms

AMP_DTYPES = {"no": None, "bf16": torch.bfloat16, "fp16": torch.float16}

Section = Callable[[str], AbstractContextManager[Any]]
"""Returns the context manager for a named part of a step."""

BACKWARD, OPTIMIZER, OWN_PROCESS = "backward", "optimizer step", "backward and optimizer step"


class Precision:
    """Autocast for both forward passes, and a gradient scaler for fp16; ``amp`` is a key of ``AMP_DTYPES``."""

    def __init__(self, amp: str, device: torch.device) -> None:
        check_choice("--amp", amp, AMP_DTYPES)
        self.dtype = AMP_DTYPES[amp]
        self.device_type = device.type
        self.scaler = torch.amp.GradScaler(device.type, enabled=amp == "fp16")

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context for the forward passes."""
        return nullcontext() if self.dtype is None else torch.autocast(self.device_type, dtype=self.dtype)


def on_device(batch: Any, targets: Any, device: torch.device) -> tuple[Any, Any]:
    """Return images and targets on the device; class indices are converted to int64."""
    batch, targets = to_device(batch, device), to_device(targets, device)
    return batch, widened_indices(targets) if isinstance(targets, Tensor) else targets


def train_step(
    box: Any,
    batch: Any,
    targets: Any,
    supplement: Any,
    *,
    precision: Precision,
    terms: LossTerms,
    step: str,
    own_process: bool = False,
    section: Section = lambda _name: nullcontext(),
) -> dict[str, float]:
    """Run forward, backward and, if accumulation is complete, an optimizer step; return the loss and its terms.

    This equals torchdistill's default post-forward process, plus loss scaling and a check that the loss is finite. The
    check always precedes the optimizer step; on CUDA it comes after the backward pass is launched.

    Args:
        box: torchdistill's box.
        batch: images (B, c, H, W), or a list of images.
        targets: labels (B,), or a list of targets.
        supplement: torchdistill's supplementary dict.
        precision: autocast and loss scaling.
        terms: records the loss and its terms.
        step: current epoch and step, for messages.
        own_process: leave backward and optimizer step to the config's ``post_forward_process``.
        section: context for backward pass and optimizer step, to time them.

    Raises:
        NonFiniteLossError: when a term is NaN or infinite.
    """
    terms.running = ""
    if precision.scaler.is_enabled():
        set_backward_scale(box, precision.scaler.scale(torch.ones((), device=box.device)))
    with explained(terms.place), precision.autocast():
        loss = box.forward_process(batch, targets, supplement)
    if not isinstance(loss, Tensor):
        raise ValueError("the criterion has no terms; add some under train.criterion.kwargs.sub_terms")
    values = terms.add(loss, len(targets))
    if own_process:
        found = values.check(step)
        with section(OWN_PROCESS):
            box.post_forward_process(loss=loss)
        return found
    if values_are_here := loss.device.type == "cpu":
        found = values.check(step)

    box.stage_grad_count += 1
    accumulate = box.grad_accum_step or 1
    with section(BACKWARD):
        precision.scaler.scale(loss / accumulate if accumulate > 1 else loss).backward()
    if not values_are_here:
        found = values.check(step)
    if box.stage_grad_count % accumulate == 0:
        with section(OPTIMIZER):
            _update(box, precision)
    return found


def optimized(box: Any) -> list[nn.Parameter]:
    """Return the parameters of a box's optimizer."""
    return [p for group in box.optimizer.param_groups for p in group["params"]]


def _update(box: Any, precision: Precision) -> None:
    if box.max_grad_norm is not None:
        precision.scaler.unscale_(box.optimizer)
        torch.nn.utils.clip_grad_norm_(optimized(box), box.max_grad_norm)
    precision.scaler.step(box.optimizer)
    precision.scaler.update()
    box.optimizer.zero_grad()
    _step_wise_schedule(box)


def _step_wise_schedule(box: Any) -> None:
    scheduler, every = box.lr_scheduler, box.scheduling_step
    if scheduler is None or not every or every <= 0 or box.stage_grad_count % every:
        return
    if isinstance(scheduler, ReduceLROnPlateau):
        raise ValueError("ReduceLROnPlateau steps once per epoch, on validation accuracy: remove scheduling_step")
    if isinstance(scheduler, CosineAnnealingWarmRestarts):
        scheduler.step(box.stage_grad_count // every)
    else:
        scheduler.step()
