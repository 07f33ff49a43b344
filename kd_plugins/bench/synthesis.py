"""Time of an iteration of ``kd-plugins synthesize`` over that of the teacher's forward and backward pass."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from .._checks import check_at_least
from ..models import CIFAR_MODELS
from ..synthesis.batch_norms import BatchNormTerm, batch_norms, recorded
from ..synthesis.optimise import Descent, Pixels
from ..synthesis.options import Options
from .timing import Paired, paired

TARGET = 1.15
TEACHER = "cifar_resnet20"


@dataclass(frozen=True)
class SynthesisCost:
    """Times of an iteration."""

    images: int  # number of images of the batch
    size: int  # their height and width
    times: Paired  # of the teacher's forward and backward pass, and of the iteration


def run_synthesis(
    *, rounds: int = 20, batch: int = 256, size: int = 32, device: torch.device | str = "cpu"
) -> SynthesisCost:
    """Measure iterations on CIFAR-10's shape with a ResNet-20, all terms of DeepInversion's loss but competition.

    Each of the ``rounds`` iterations is timed beside a forward and backward pass.

    Raises:
        ValueError: on a number that is too small.
    """
    check_at_least("batch", batch, 2)
    teacher = CIFAR_MODELS[TEACHER](num_classes=10).to(device)
    with torch.no_grad():
        teacher(torch.randn(64, 3, size, size, device=device))  # gives the batch norms statistics
    teacher.eval().requires_grad_(False)
    labels = torch.arange(batch, device=device) % 10
    images = torch.randn(batch, 3, size, size, device=device, requires_grad=True)
    norms = BatchNormTerm(batch_norms(teacher))
    options = Options(l2=1e-5).filled(height=size, flip=True)
    pixels = Pixels([0.5] * 3, [0.25] * 3, grey=False, device=device)
    descent = Descent(teacher, labels, (size, size), pixels, options, seed=0, norms=norms)

    def plain() -> None:
        torch.autograd.grad(F.cross_entropy(teacher(images), labels), images)

    def iteration() -> None:
        with recorded(norms):
            descent.look()
        descent.step()

    times = paired(plain, iteration, within=0.0, least=rounds, most=rounds, device=device)
    return SynthesisCost(batch, size, times)


def format_synthesis(cost: SynthesisCost) -> str:
    """Return the measurement as lines.

    Example:
        >>> print(format_synthesis(SynthesisCost(256, 32, Paired(1.0, 1.1, 1.1, 1.08, 1.12))))
        256 images of 32x32, teacher cifar_resnet20
        forward and backward pass  1.000 s
        iteration                  1.100 s, x 1.100 (1.080-1.120; target x 1.150: met)
    """
    times, verdict = cost.times, "met" if cost.times.ratio <= TARGET else "missed"
    return (
        f"{cost.images} images of {cost.size}x{cost.size}, teacher {TEACHER}\n"
        f"forward and backward pass  {times.first:.3f} s\n"
        f"iteration                  {times.second:.3f} s, x {times.ratio:.3f} "
        f"({times.low:.3f}-{times.high:.3f}; target x {TARGET:.3f}: {verdict})"
    )
