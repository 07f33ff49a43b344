"""What the losses cost, next to the formulas that they replace as these are usually written."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .._checks import check_at_least
from ..losses import ckd_loss, dkd_loss, lskd_loss, mlkd_loss, sfkd_loss, soft_target_loss
from ..losses.mlkd import TEMPERATURES
from ..transforms import keep_salient, standardize
from .memory import bytes_kept_for_backward, peak_bytes
from .timing import Paired, paired, warm_allocator

FEATURE_SHAPE = (64, 32, 32)
WITHIN = 0.05
"""How far the interval of a ratio may reach from it."""
WARMUP, LEAST = 3, 10


@dataclass(frozen=True)
class Inputs:
    """What the measured computations read.

    Attributes:
        student: logits (B, C), with a gradient.
        teacher: logits (B, C).
        targets: class indices (B,).
        strong: student's and teacher's logits of a second view.
        features: a teacher's feature maps (B / 8, 64, 32, 32).
        activations: the same after a ReLU.
    """

    student: Tensor
    teacher: Tensor
    targets: Tensor
    strong: tuple[Tensor, Tensor]
    features: Tensor
    activations: Tensor

    @property
    def given(self) -> tuple[Tensor, ...]:
        """All tensors."""
        return (self.student, self.teacher, self.targets, *self.strong, self.features, self.activations)


Computation = Callable[[Inputs], Tensor]


def plain_loss(inputs: Inputs) -> Tensor:
    """Return the softened divergence as it is usually written, with torch's ``kl_div``."""
    log_student, soft_teacher = F.log_softmax(inputs.student / 4, dim=1), F.softmax(inputs.teacher / 4, dim=1)
    return F.kl_div(log_student, soft_teacher, reduction="batchmean") * 16


def plain_mlkd_loss(inputs: Inputs) -> Tensor:
    """Return the multi-level loss as its formula stands, with all of its Gram matrices."""
    loss = inputs.student.new_zeros(())
    for student, teacher in ((inputs.student, inputs.teacher), inputs.strong):
        for t in TEMPERATURES:
            log_q, p = F.log_softmax(student / t, dim=1), F.softmax(teacher / t, dim=1)
            q = F.softmax(student / t, dim=1)
            loss = loss + F.kl_div(log_q, p, reduction="batchmean") * t**2
            loss = loss + (p @ p.T - q @ q.T).square().sum() / len(p)
            loss = loss + (p.T @ p - q.T @ q).square().sum() / p.shape[1]
    return loss


def kth_values(inputs: Inputs) -> Tensor:
    """Return the median entry of every sample's features by torch's ``kthvalue``."""
    rows = inputs.features.flatten(1)
    return rows.kthvalue(rows.shape[1] // 2, dim=1).values


@dataclass(frozen=True)
class Contender:
    """A computation, the most that it may cost and what that is counted in."""

    run: Computation
    most: float


@dataclass(frozen=True)
class Group:
    """Computations that are timed in pairs with one reference.

    Attributes:
        name: of the reference.
        reference: what the ratios are to.
        contenders: by name.
        rounds_share: how much of the rounds what takes long has at most.
    """

    name: str
    reference: Computation
    contenders: dict[str, Contender]
    rounds_share: float = 1.0


GROUPS = (
    Group(
        "plain kl_div",
        plain_loss,
        {
            "soft_target_loss": Contender(lambda x: soft_target_loss(x.student, x.teacher), 0.7),
            "lskd_loss": Contender(lambda x: lskd_loss(x.student, x.teacher), 1.1),
            "ckd_loss": Contender(lambda x: ckd_loss(x.student, x.teacher), 4.2),
            "dkd_loss": Contender(lambda x: dkd_loss(x.student, x.teacher, x.targets), 1.5),
            "dkd_loss, standardized": Contender(
                lambda x: dkd_loss(standardize(x.student), standardize(x.teacher), x.targets), 2.0
            ),
            "sfkd_loss": Contender(lambda x: sfkd_loss(x.student, x.teacher, keep=0.5), 2.6),
            "sfkd_loss, -inf": Contender(lambda x: sfkd_loss(x.student, x.teacher, keep=0.5, fill="-inf"), 2.6),
        },
    ),
    Group(
        "plain mlkd",
        plain_mlkd_loss,
        {"mlkd_loss": Contender(lambda x: mlkd_loss(x.student, x.strong[0], x.teacher, x.strong[1]), 0.6)},
        rounds_share=0.05,
    ),
    Group(
        "kthvalue of features",
        kth_values,
        {
            "keep_salient": Contender(lambda x: keep_salient(x.features, keep=0.5), 1.2),
            "keep_salient, magnitude": Contender(lambda x: keep_salient(x.features, keep=0.5, by="magnitude"), 1.2),
            "keep_salient, after ReLU": Contender(lambda x: keep_salient(x.activations, keep=0.7), 1.2),
        },
        rounds_share=0.1,
    ),
)


@dataclass(frozen=True)
class Row:
    """One measured computation; a loss with its backward pass.

    Attributes:
        name: of the computation.
        milliseconds: median over the rounds.
        ratio: to the reference, the row above that has no target; the median over pairs of calls.
        interval: 95 % confidence interval of the ratio.
        target: largest ratio wanted, None for a reference itself.
        peak_mib: the most that the tensors of both passes take at one time, in MiB, inputs left out.
        kept_mib: what the forward pass keeps for the backward pass, in MiB, inputs left out.
    """

    name: str
    milliseconds: float
    ratio: float
    interval: tuple[float, float]
    target: float | None
    peak_mib: float
    kept_mib: float

    @property
    def met(self) -> bool:
        """Whether the ratio is within the target."""
        return self.target is None or self.ratio <= self.target

    @property
    def settled(self) -> bool:
        """Whether the interval is within 5 % of the ratio."""
        return max(self.ratio - self.interval[0], self.interval[1] - self.ratio) <= WITHIN * self.ratio


def run_losses(
    *, rounds: int = 400, batch: int = 512, classes: int = 1000, device: torch.device | str = "cpu"
) -> list[Row]:
    """Measure every loss on random logits, and masking on random features.

    Args:
        rounds: pairs of timed calls at most; a loss has no more once its ratio is known within 5 %.
        batch: B.
        classes: C.
        device: where.

    Returns:
        Every reference followed by what is measured against it.

    Raises:
        ValueError: if a number is too small.
    """
    check_at_least("rounds", rounds, 1)
    check_at_least("batch", batch, 1)
    check_at_least("classes", classes, 2)
    inputs = _inputs(batch, classes, device)
    warm_allocator(device)
    return [row for group in GROUPS for row in _measure(group, inputs, rounds=rounds, device=device)]


def format_rows(rows: list[Row]) -> str:
    """Return the measurements as a table, and what to do where an interval stayed wide.

    Example:
        >>> rows = [Row("plain", 1.5, 1.0, (1.0, 1.0), None, 8.0, 4.0), Row("ckd", 5.5, 3.5, (3.1, 3.6), 4.2, 9.0, 6.0)]
        >>> print(format_rows(rows))
        loss      ms  x reference  95 % interval  target        peak MiB  kept MiB
        plain   1.50         1.00              -       -            8.00      4.00
        ckd     5.50         3.50   3.10 to 3.60*   4.20  met       9.00      6.00
        * not within 5 % of the ratio after the last round: quiet the machine, or give more --rounds
    """
    width = max(len("loss"), *(len(row.name) for row in rows))
    lines = [f"{'loss':<{width}}  {'ms':>6}  x reference  95 % interval  target        peak MiB  kept MiB"]
    for row in rows:
        interval = "-" if row.target is None else f"{row.interval[0]:.2f} to {row.interval[1]:.2f}"
        target = "-" if row.target is None else f"{row.target:.2f}"
        verdict = "" if row.target is None else "met" if row.met else "missed"
        lines.append(
            f"{row.name:<{width}}  {row.milliseconds:>6.2f}  {row.ratio:>11.2f}  {interval:>13}"
            f"{' ' if row.settled else '*'} {target:>6}  {verdict:<6}  {row.peak_mib:>6.2f}  {row.kept_mib:>8.2f}"
        )
    if not all(row.settled for row in rows):
        lines.append("* not within 5 % of the ratio after the last round: quiet the machine, or give more --rounds")
    return "\n".join(lines)


def _inputs(batch: int, classes: int, device: torch.device | str) -> Inputs:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, batch, classes, generator=generator).to(device)
    features = torch.randn(max(1, batch // 8), *FEATURE_SHAPE, generator=generator).to(device)
    # A logit layer's output has a gradient but is no leaf that adds gradients up.
    return Inputs(
        student=logits[0].requires_grad_(),
        teacher=logits[1],
        targets=torch.randint(classes, (batch,), generator=generator).to(device),
        strong=(logits[2].requires_grad_(), logits[3]),
        features=features,
        activations=features.relu(),
    )


def _measure(group: Group, inputs: Inputs, *, rounds: int, device: torch.device | str) -> list[Row]:
    reference = _step(group.reference, inputs)
    steps = {name: _step(contender.run, inputs) for name, contender in group.contenders.items()}
    for _ in range(WARMUP):
        for step in (reference, *steps.values()):
            step()
    most = max(1, round(rounds * group.rounds_share))
    found = {
        name: paired(reference, step, within=WITHIN, least=LEAST, most=most, device=device)
        for name, step in steps.items()
    }
    first = statistics.median(pair.first for pair in found.values())
    rows = [_row(group.name, group.reference, inputs, Paired(first, first, 1.0, 1.0, 1.0), None)]
    return rows + [
        _row(name, contender.run, inputs, found[name], contender.most) for name, contender in group.contenders.items()
    ]


def _row(name: str, run: Computation, inputs: Inputs, pair: Paired, target: float | None) -> Row:
    return Row(
        name=name,
        milliseconds=1e3 * pair.second,
        ratio=pair.ratio,
        interval=(pair.low, pair.high),
        target=target,
        peak_mib=peak_bytes(_step(run, inputs), given=inputs.given) / 2**20,
        kept_mib=bytes_kept_for_backward(lambda: run(inputs), given=inputs.given) / 2**20,
    )


def _step(run: Computation, inputs: Inputs) -> Callable[[], object]:
    def step() -> object:
        result = run(inputs)
        if not result.requires_grad:
            return result
        return torch.autograd.grad(result, (inputs.student, inputs.strong[0]), allow_unused=True)

    return step
