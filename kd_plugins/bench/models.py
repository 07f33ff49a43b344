"""Time of the CIFAR networks over that of their bare operations, and of the frozen teacher over its model's."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .._checks import check_at_least, unknown_name
from ..host.teachers.wrapper import FrozenTeacher
from ..models import CIFAR_MODELS, timm_model
from .timing import interleaved_medians

FAMILIES = (
    "cifar_resnet20",
    "cifar_resnet8x4",
    "cifar_resnet50",
    "cifar_wrn_16_2",
    "cifar_vgg8",
    "cifar_mobilenetv2",
    "cifar_shufflenetv1",
    "cifar_shufflenetv2",
)
"""One or two networks of each family."""

NETWORK_TARGET, TEACHER_TARGET = 1.05, 1.02
TEACHER = "FrozenTeacher(resnet18)"


@dataclass(frozen=True)
class ModelRow:
    """One measured model."""

    name: str  # name of the model
    milliseconds: float  # median over the rounds
    plain_milliseconds: float  # median of the same computation without the model's overhead
    target: float  # largest wanted ratio

    @property
    def ratio(self) -> float:
        """Time over that of the plain computation."""
        return self.milliseconds / self.plain_milliseconds


def run_models(
    *,
    rounds: int = 20,
    batch: int = 64,
    teacher_batch: int = 8,
    teacher_size: int = 224,
    names: Sequence[str] = FAMILIES,
    device: torch.device | str = "cpu",
) -> list[ModelRow]:
    """Measure forward and backward pass of networks in training, and the forward pass of a frozen ResNet-18.

    A network is compared with the sequence of its tensor operations, recorded once, without module calls. The frozen
    teacher is compared with a ResNet-18 in eval mode without gradient, at the same image size and normalisation.

    Networks take ``batch`` images of 32x32, the teacher ``teacher_batch`` images of ``teacher_size`` pixels' height and
    width. The rows are those of the networks, which ``names`` takes from ``CIFAR_MODELS``, and then the teacher's.

    Raises:
        ValueError: on an unknown name or a number that is too small.
    """
    check_at_least("batch", batch, 2)
    check_at_least("teacher_batch", teacher_batch, 1)
    check_at_least("teacher_size", teacher_size, 32)
    for name in names:
        if name not in CIFAR_MODELS:
            raise unknown_name("CIFAR network", name, CIFAR_MODELS)
    rows = [_network_row(name, rounds, batch, device) for name in names]
    return [*rows, _teacher_row(rounds, teacher_batch, teacher_size, device)]


def recorded(model: nn.Module, images: Tensor) -> Callable[[], Tensor]:
    """Return a function that repeats the operations of ``model`` on ``images`` without module calls.

    It uses the model's own parameters and buffers, so it can be differentiated.

    Raises:
        RuntimeError: if the model cannot be recorded as one graph.

    Example:
        >>> layer = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
        >>> x = torch.ones(1, 2)
        >>> torch.equal(recorded(layer, x)(), layer(x))
        True
    """
    kept: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []

    def keep(graph: Any, example_inputs: Any) -> Callable[..., Any]:
        def first_run(*inputs: Any) -> Any:
            kept.append((graph.forward, inputs))
            return graph.forward(*inputs)

        return first_run

    torch.compiler.reset()
    torch.compile(model, backend=keep, fullgraph=True, dynamic=False)(images)
    torch.compiler.reset()
    operations, inputs = kept[0]
    return lambda: operations(*inputs)[0]


def format_rows(rows: Sequence[ModelRow]) -> str:
    """Return the measurements as a table.

    Example:
        >>> print(format_rows([ModelRow("cifar_vgg8", 51.0, 50.0, 1.05)]))
        model            ms  plain ms  x plain  target
        cifar_vgg8    51.00     50.00    1.020    1.05  met
    """
    width = max(len("model"), *(len(row.name) for row in rows))
    lines = [f"{'model':<{width}}  {'ms':>7}  plain ms  x plain  target"]
    lines += [
        f"{row.name:<{width}}  {row.milliseconds:>7.2f}  {row.plain_milliseconds:>8.2f}  {row.ratio:>7.3f}  "
        f"{row.target:>6.2f}  {'met' if row.ratio <= row.target else 'missed'}"
        for row in rows
    ]
    return "\n".join(lines)


def _network_row(name: str, rounds: int, batch: int, device: torch.device | str) -> ModelRow:
    model = CIFAR_MODELS[name]().to(device).train()
    images = _images(batch, 32, device)
    parameters, operations = list(model.parameters()), recorded(model, images)
    seconds = interleaved_medians(
        {
            "measured": lambda: torch.autograd.grad(model(images).sum(), parameters),
            "plain": lambda: torch.autograd.grad(operations().sum(), parameters),
        },
        rounds=rounds,
        device=device,
    )
    return ModelRow(name, 1e3 * seconds["measured"], 1e3 * seconds["plain"], NETWORK_TARGET)


def _teacher_row(rounds: int, batch: int, size: int, device: torch.device | str) -> ModelRow:
    plain = timm_model(model_name="resnet18").to(device).eval()
    teacher = FrozenTeacher(copy.deepcopy(plain), input_size=size)
    images = _images(batch, size, device)
    runs = {"measured": lambda: teacher(images), "plain": torch.no_grad()(lambda: plain(images))}
    seconds = interleaved_medians(runs, rounds=rounds, device=device)
    return ModelRow(TEACHER, 1e3 * seconds["measured"], 1e3 * seconds["plain"], TEACHER_TARGET)


def _images(batch: int, size: int, device: torch.device | str) -> Tensor:
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(0)).to(device)
