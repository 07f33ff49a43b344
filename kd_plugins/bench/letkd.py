"""Time and memory of letKD's layer and loss in a training step, compared with their formulas written out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .._checks import check_at_least
from ..losses import LetKDLoss, SoftTargetLoss
from ..models import CIFAR_MODELS, add_kd_layers
from ..modules import KDLayer
from ..statistics import PenultimateStatistics
from .letkd_fit import Row
from .memory import bytes_kept_for_backward
from .timing import interleaved_medians, paired

BATCH, CHANNELS, SIDE, CLASSES = 64, 64, 8, 100
MANY, FEW = 4096, 64
LARGEST_RATIO, LARGEST_STEP_RATIO, MOST_KEPT = 0.6, 1.10, 3.0


@dataclass(frozen=True)
class Inputs:
    """Inputs of the benchmark, with the layer and the loss."""

    features: Tensor  # the student's map, shape (B, c, H, W), with a gradient
    teacher: Tensor  # the teacher's map, same shape
    gradient: Tensor  # gradient of the layer's output from the rest of the student, same shape
    layer: KDLayer  # has K scores
    loss: LetKDLoss  # has K centres

    @property
    def parameters(self) -> list[Tensor]:
        """Leaves of the backward pass."""
        return [self.features, *self.layer.parameters()]

    @property
    def given(self) -> tuple[Tensor, ...]:
        """All tensors that exist before the step."""
        return (*self.parameters, self.teacher, self.gradient, *self.layer.buffers(), *self.loss.buffers())


def inputs(num_scores: int, *, batch: int = BATCH, device: torch.device | str = "cpu") -> Inputs:
    """Return random maps after a ReLU, a layer, and a loss whose centres are positions of the teacher's map.

    Example:
        >>> inputs(8, batch=2).features.shape
        torch.Size([2, 64, 8, 8])
    """
    generator = torch.Generator().manual_seed(0)
    shape = (batch, CHANNELS, SIDE, SIDE)
    features, teacher, gradient = (torch.randn(shape, generator=generator).to(device) for _ in range(3))
    teacher = teacher.relu()
    rows = teacher.permute(0, 2, 3, 1).flatten(0, 2)
    centres = rows[torch.randint(len(rows), (num_scores,), generator=generator).to(device)]
    return Inputs(
        features.relu().requires_grad_(),
        teacher,
        gradient / len(rows),
        KDLayer(CHANNELS, num_scores).to(device),
        LetKDLoss(PenultimateStatistics(centres)).to(device),
    )


def measured(given: Inputs) -> tuple[Tensor, Tensor]:
    """Return the layer's output and the loss of its scores."""
    scores: list[Tensor] = []
    handle = given.layer.scores.register_forward_hook(lambda _module, _args, output: scores.append(output))
    out = given.layer(given.features)
    handle.remove()
    return out, given.loss(scores[0], given.teacher)


def written_out(given: Inputs) -> tuple[Tensor, Tensor]:
    """Return the same with torch's convolution, batch norm, softmax and KL divergence."""
    layer, centres = given.layer, given.loss.centres
    kernel, values = (
        F.normalize(weight, dim=1)[:, :, None, None] for weight in (layer.score_kernel, layer.value_kernel)
    )
    norm = layer.norm
    scores = layer.score_scale * F.conv2d(F.normalize(given.features, dim=1), kernel)
    weights = F.relu(F.batch_norm(scores, norm.running_mean, norm.running_var, norm.weight, norm.bias, training=True))
    out = given.features + layer.alpha * layer.value_scale * F.conv2d(F.normalize(weights, dim=1), values)
    rows = given.teacher.permute(0, 2, 3, 1).flatten(0, 2)
    distances = rows.square().sum(1, keepdim=True) - 2 * rows @ centres.T + centres.square().sum(1)
    log_student = F.log_softmax(scores.permute(0, 2, 3, 1).flatten(0, 2), dim=1)
    return out, F.kl_div(log_student, F.softmax(-distances, dim=1), reduction="batchmean")


Computation = Callable[[Inputs], tuple[Tensor, Tensor]]


def both_passes(given: Inputs, compute: Computation) -> tuple[Tensor, ...]:
    """Return the gradients of the loss, and of the output weighted by ``given.gradient``."""
    out, loss = compute(given)
    return torch.autograd.grad((out, loss), given.parameters, (given.gradient, torch.ones_like(loss)))


def kept_tensors(given: Inputs, compute: Computation) -> float:
    """Return the memory kept for the backward pass, in tensors of the scores' size."""
    kept = bytes_kept_for_backward(lambda: both_passes(given, compute), given=given.given)
    positions = given.features.numel() // CHANNELS
    return kept / (positions * len(given.layer.score_kernel) * given.features.element_size())


def training_steps(
    num_scores: int, *, batch: int = BATCH, device: torch.device | str = "cpu"
) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return two training steps of ResNet-56 -> ResNet-20: KD, and letKD with a penultimate layer."""
    images = torch.randn(batch, 3, 32, 32, generator=torch.Generator().manual_seed(0)).to(device)
    labels = torch.arange(batch, device=device) % CLASSES
    teacher = CIFAR_MODELS["cifar_resnet56"]().to(device).eval().requires_grad_(False)
    maps: list[Tensor] = []
    teacher.layer3.register_forward_hook(lambda _module, _args, output: maps.append(output))  # type: ignore[union-attr]
    plain = CIFAR_MODELS["cifar_resnet20"]().to(device)
    student = add_kd_layers(
        CIFAR_MODELS["cifar_resnet20"]().to(device), [{"point": "penultimate", "num_scores": num_scores}]
    )
    scores: list[Tensor] = []
    student.get_submodule("kd_layer.penultimate.scores").register_forward_hook(
        lambda _module, _args, output: scores.append(output)
    )
    kd, letkd = SoftTargetLoss(), inputs(num_scores, batch=batch, device=device).loss

    def step(model: nn.Module, distill: Callable[[Tensor, Tensor], Tensor]) -> Callable[[], None]:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4, nesterov=True)

        def run() -> None:
            with torch.no_grad():
                teacher_logits = teacher(images)
            logits = model(images)
            (F.cross_entropy(logits, labels) + distill(logits, teacher_logits)).backward()
            optimizer.step()
            optimizer.zero_grad()
            maps.clear()
            scores.clear()

        return run

    return step(plain, kd), step(student, lambda *_: letkd(scores[0], maps[0]))


def run_letkd(
    *, rounds: int = 10, many: int = MANY, few: int = FEW, batch: int = BATCH, device: torch.device | str = "cpu"
) -> list[Row]:
    """Measure layer and loss of a penultimate map (B, 64, 8, 8), and whole training steps.

    Layer and loss have ``many`` scores, so that they outweigh the rest of a step, and the steps ``few``, so that they
    should be negligible. The steps, which differ less, are timed eight times as often as ``rounds``.

    Raises:
        ValueError: on a number below 1.
    """
    for name, value in (("rounds", rounds), ("many", many), ("few", few), ("batch", batch)):
        check_at_least(name, value, 1)
    # First, because the memory is then in the state in which a training finds it.
    steps = training_steps(few, batch=batch, device=device)
    pair = paired(*steps, within=0.0, least=8 * rounds, most=8 * rounds, device=device)
    given = inputs(many, batch=batch, device=device)
    runs = {"plain": partial(both_passes, given, written_out), "measured": partial(both_passes, given, measured)}
    seconds = interleaved_medians(runs, rounds=rounds, warmup=1, device=device)
    kept = {name: kept_tensors(given, compute) for name, compute in (("plain", written_out), ("measured", measured))}
    return [
        Row(f"K={many}: written out, both passes", 1e3 * seconds["plain"], "ms", None),
        Row(f"K={many}: layer and loss, both passes", 1e3 * seconds["measured"], "ms", None),
        Row(f"K={many}: layer and loss / written out", seconds["measured"] / seconds["plain"], "x", LARGEST_RATIO),
        Row(f"K={many}: written out, kept for the backward pass", kept["plain"], "B*H*W*K", None),
        Row(f"K={many}: layer and loss, kept for the backward pass", kept["measured"], "B*H*W*K", MOST_KEPT),
        Row("KD step, resnet56 -> resnet20", 1e3 * pair.first, "ms", None),
        Row(f"K={few}: letKD step", 1e3 * pair.second, "ms", None),
        Row(f"K={few}: letKD step / KD step", pair.ratio, "x", LARGEST_STEP_RATIO),
    ]
