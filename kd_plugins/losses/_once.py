"""Error for double backward."""

from __future__ import annotations

import torch


def refuse_second_derivative() -> None:
    """Raise ``RuntimeError`` in a backward pass with ``create_graph``.

    Gradients that the forward pass computed have no graph, so a second derivative would silently miss them.
    ``once_differentiable`` raises only if the incoming gradient has a graph.
    """
    if torch.is_grad_enabled():
        raise RuntimeError("double backward is not supported by this loss")
