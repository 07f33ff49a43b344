"""Local learning: a network cut into modules, each trained by its own loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from .._checks import check_choice
from ..transforms.precision import autocast_off

BACKWARD = ("joint", "eager")


class LocalLearning:
    """Context manager that cuts the gradient after modules of a network and computes a loss for each.

    After each boundary except the last, later layers get the detached output, while the module's loss gets the output
    with its graph. At the last boundary nothing is cut, because the last module continues to the network's output.

    With ``backward="joint"`` the losses are only collected, and the caller back-propagates the sum. With ``"eager"``
    the loss of every module but the last is back-propagated at once, in the boundary's forward hook, so the module's
    graph is freed before the next module runs; the gradients are the same.

    Args:
        boundaries: modules of one network, in the order of its forward pass; each returns one tensor.
        loss: called with the number of the module, from 0, and the boundary's output; returns a scalar.
        backward: ``"joint"`` or ``"eager"``.
        scale: factor on the eager losses' gradients: a number, or a tensor of one element.

    Attributes:
        losses: one scalar per module, filled by a forward pass; detached if already back-propagated.

    Raises:
        ValueError: on an unknown mode; inside the context, if a boundary does not return one tensor or is reached
            twice.

    Example:
        >>> network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
        >>> with LocalLearning(list(network), lambda number, output: output.sum()) as local:
        ...     y = network(torch.ones(1, 2))
        >>> y.sum().backward()
        >>> [layer.weight.grad is not None for layer in network], len(local.losses)
        ([False, True], 2)
    """

    def __init__(
        self,
        boundaries: Sequence[nn.Module],
        loss: Callable[[int, Tensor], Tensor],
        *,
        backward: str = "joint",
        scale: float | Tensor = 1.0,
    ) -> None:
        check_choice("backward", backward, BACKWARD)
        self.boundaries = tuple(boundaries)
        self.loss = loss
        self.backward = backward
        self.scale = scale
        self.losses: list[Tensor] = []
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> LocalLearning:
        self.close()
        self.losses = []
        for number, boundary in enumerate(self.boundaries):
            self._handles.append(boundary.register_forward_hook(self._hook(number)))
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove every hook."""
        while self._handles:
            self._handles.pop().remove()

    def _hook(self, number: int) -> Callable[[nn.Module, Any, Any], Tensor | None]:
        last = number == len(self.boundaries) - 1

        def hook(_module: nn.Module, _inputs: Any, output: Any) -> Tensor | None:
            if not isinstance(output, Tensor):
                raise ValueError(f"boundary {number + 1} must return one tensor, found {type(output).__name__}")
            if len(self.losses) != number:
                raise ValueError(
                    f"boundary {number + 1} of {len(self.boundaries)} was reached after {len(self.losses)} others; "
                    "each must be reached once per forward pass, in the listed order"
                )
            loss = self.loss(number, output)
            if self.backward == "eager" and not last:
                if loss.requires_grad:
                    # A copy of a number to the device would make the host wait, so it is filled there.
                    scale = self.scale
                    scale = scale.to(loss) if isinstance(scale, Tensor) else torch.full_like(loss, scale)
                    with autocast_off(loss):  # autocast would narrow the products of the backward pass again
                        loss.backward(scale)
                loss = loss.detach()
            self.losses.append(loss)
            return None if last else output.detach()

        return hook


def check_scale(losses: Tensor, scale: float | Tensor) -> None:
    """Let the backward pass of ``losses`` (n,) fail unless their gradient is ``scale``, a number or a tensor of one.

    Eager losses are back-propagated with the scale that the caller expects. The gradient of the remaining loss shows
    the criterion's real one.
    """

    def compare(gradient: Tensor | None) -> None:
        # Autograd passes None if it computes the gradient of something else.
        if gradient is not None and not torch.allclose(gradient, torch.as_tensor(scale).to(gradient), rtol=1e-3):
            raise ValueError(
                f"backward='eager' scaled the local losses by {float(scale):g}, but the criterion scales them by "
                f"{gradient.flatten()[0].item():g}; use backward: joint"
            )

    losses.register_hook(compare)
