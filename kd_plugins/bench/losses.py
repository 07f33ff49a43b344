"""What the losses cost, next to the plain divergence that they replace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .._checks import check_at_least
from ..losses import ckd_loss, lskd_loss, soft_target_loss
from .timing import bytes_kept_for_backward, interleaved_medians

Loss = Callable[[Tensor, Tensor], Tensor]
PLAIN = "plain kl_div"


def plain_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the softened divergence as it is usually written, with torch's ``kl_div``."""
    log_student, soft_teacher = F.log_softmax(student / 4, dim=1), F.softmax(teacher / 4, dim=1)
    return F.kl_div(log_student, soft_teacher, reduction="batchmean") * 16


CONTENDERS: dict[str, tuple[Loss, float]] = {
    "soft_target_loss": (soft_target_loss, 0.7),
    "lskd_loss": (lskd_loss, 1.1),
    "ckd_loss": (ckd_loss, 4.2),
}
"""Name -> loss, and the most that it may cost, in units of the plain divergence."""


@dataclass(frozen=True)
class Row:
    """One measured loss, forward and backward pass together.

    Attributes:
        name: of the loss.
        milliseconds: median over the rounds.
        ratio: to the plain divergence.
        target: largest ratio wanted, None for the plain divergence itself.
        kept_mib: what the forward pass keeps for the backward pass, in MiB, inputs left out.
    """

    name: str
    milliseconds: float
    ratio: float
    target: float | None
    kept_mib: float

    @property
    def met(self) -> bool:
        """Whether the ratio is within the target."""
        return self.target is None or self.ratio <= self.target


def run_losses(
    *, rounds: int = 100, batch: int = 512, classes: int = 1000, device: torch.device | str = "cpu"
) -> list[Row]:
    """Measure every loss on random logits.

    Args:
        rounds: timed calls of each loss, in turns.
        batch: B.
        classes: C.
        device: where.

    Returns:
        The plain divergence first, then the losses.

    Raises:
        ValueError: if a number is too small.
    """
    check_at_least("batch", batch, 1)
    check_at_least("classes", classes, 2)
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, batch, classes, generator=generator).to(device)
    # A logit layer's output has a gradient but is no leaf that adds gradients up.
    student = student.requires_grad_()
    losses: dict[str, Loss] = {PLAIN: plain_loss} | {name: loss for name, (loss, _) in CONTENDERS.items()}

    def step(loss: Loss) -> Callable[[], object]:
        return lambda: torch.autograd.grad(loss(student, teacher), student)

    seconds = interleaved_medians({name: step(loss) for name, loss in losses.items()}, rounds=rounds, device=device)
    return [
        Row(
            name=name,
            milliseconds=1e3 * seconds[name],
            ratio=seconds[name] / seconds[PLAIN],
            target=CONTENDERS[name][1] if name in CONTENDERS else None,
            kept_mib=_kept_mib(loss, student, teacher),
        )
        for name, loss in losses.items()
    ]


def format_rows(rows: list[Row]) -> str:
    """Return the measurements as a table.

    Example:
        >>> print(format_rows([Row("ckd_loss", 5.5, 3.5, 4.2, 6.0)]))
        loss          ms  x plain  target        kept MiB
        ckd_loss    5.50     3.50    4.20  met       6.00
    """
    width = max(len("loss"), *(len(row.name) for row in rows))
    lines = [f"{'loss':<{width}}  {'ms':>6}  x plain  target        kept MiB"]
    for row in rows:
        target = "-" if row.target is None else f"{row.target:.2f}"
        verdict = "" if row.target is None else "met" if row.met else "missed"
        lines.append(
            f"{row.name:<{width}}  {row.milliseconds:>6.2f}  {row.ratio:>7.2f}  {target:>6}  "
            f"{verdict:<6}  {row.kept_mib:>6.2f}"
        )
    return "\n".join(lines)


def _kept_mib(loss: Loss, student: Tensor, teacher: Tensor) -> float:
    return bytes_kept_for_backward(lambda: loss(student, teacher), given=(student, teacher)) / 2**20
