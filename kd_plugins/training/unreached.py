"""Freeze parameters without a gradient before distributed training."""

from __future__ import annotations

import copy
import logging
from typing import Any

import torch
from torch import nn

from ..host.boxes.processes import complete_pre_epoch, criterion_terms
from ..runtime.checkpoint import random_state, set_random_state
from ..runtime.distributed import Processes
from ..runtime.failures import explained
from .step import on_device

logger = logging.getLogger(__name__)


def freeze_unreached(box: Any, model: nn.Module, processes: Processes, epoch: int) -> None:
    """Freeze the student's parameters that get no gradient from any loss term, and log them.

    DDP waits for a gradient of every parameter. Without DDP, such a parameter keeps its value, so freezing it gives
    the same result. One forward and backward pass before epoch ``epoch`` finds these parameters; buffers, loss terms
    and random generators are restored afterwards.
    """
    randoms = random_state(box.train_data_loader)
    models = [m for m in (model, getattr(box, "teacher_model", None)) if m is not None]
    buffers = [(buffer, buffer.clone()) for one in models for buffer in one.buffers()]
    terms = criterion_terms(box.criterion)
    memories = {name: copy.deepcopy(term.state_dict()) for name, term in terms.items()}
    model.train()
    complete_pre_epoch(box, epoch)
    batch, targets, *supplement = next(iter(box.train_data_loader))
    with explained("the first batch"):
        loss = box.forward_process(*on_device(batch, targets, processes.device), supplement[0] if supplement else {})
        loss.backward()
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    idle = set(processes.from_main([name for name, p in named if p.grad is None]))
    for name, p in named:
        p.grad = None
        if name in idle:
            p.requires_grad = False
    with torch.no_grad():
        for buffer, before in buffers:
            buffer.copy_(before)
    for name, term in terms.items():
        term.load_state_dict(memories[name])
    set_random_state(randoms, box.train_data_loader)
    if idle and processes.is_main:
        names = ", ".join(sorted(idle)[:3]) + (", ..." if len(idle) > 3 else "")
        logger.warning(
            "%d parameters of the student get no gradient from any term and are frozen: %s", len(idle), names
        )
