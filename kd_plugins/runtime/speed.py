"""How models run in training: memory layout of images and weights, and compilation."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn


def speed_up(*models: nn.Module | None, channels_last: bool, compile: bool) -> None:
    """Change how models run, in place: names of parameters and hooks stay.

    ``channels_last`` stores convolution weights as (N, H, W, C); ``compile`` compiles the forward pass when it first
    runs, see :func:`compiling`.
    """
    for model in models:
        if model is not None and channels_last:
            model.to(memory_format=torch.channels_last)
        if model is not None and compile:
            model.compile()


def images_channels_last(batch: Any) -> Any:
    """Return images (B, c, H, W) in the layout (N, H, W, C); other batches do not change."""
    is_batch = isinstance(batch, Tensor) and batch.ndim == 4
    return batch.contiguous(memory_format=torch.channels_last) if is_batch else batch


def compiling(on: bool, *, used: bool) -> AbstractContextManager[None]:
    """Return a context in which compiled models, if any are ``used``, run compiled, or as they are.

    Only training steps should run compiled: evaluation would compile another mode and other batch sizes, and probes
    change a model's hooks.
    """
    return torch.compiler.set_stance("default" if on else "force_eager") if used else nullcontext()
