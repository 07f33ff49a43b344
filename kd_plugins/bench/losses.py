"""Time and memory of the losses, compared with the usual way to write their formulas."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from .._checks import check_at_least
from ..losses import ckd_loss, dkd_loss, lskd_loss, mlkd_loss, sfkd_loss, soft_target_loss
from ..losses.mlkd import TEMPERATURES
from ..transforms import keep_salient, standardize
from .memory import bytes_kept_for_backward, peak_bytes, tensors_in
from .timing import Paired, paired

FEATURE_SHAPE = (64, 32, 32)
WITHIN = 0.05
"""Largest distance of a confidence interval's ends from its ratio, as a share of it."""
LEAST = 10


@dataclass(frozen=True)
class Inputs:
    """Inputs of the measured computations."""

    student: Tensor  # logits (B, C), with a gradient
    teacher: Tensor  # logits (B, C)
    targets: Tensor  # class indices (B,)
    strong: tuple[Tensor, Tensor]  # student's and teacher's logits of a second view
    features: Tensor  # a teacher's feature maps (B / 8, 64, 32, 32)
    activations: Tensor  # the feature maps after a ReLU


Computation = Callable[[Inputs], Tensor]


def plain_loss(inputs: Inputs) -> Tensor:
    """Return the KL divergence of softened logits as it is usually written, with torch's ``kl_div``."""
    log_student, soft_teacher = F.log_softmax(inputs.student / 4, dim=1), F.softmax(inputs.teacher / 4, dim=1)
    return F.kl_div(log_student, soft_teacher, reduction="batchmean") * 16


def plain_mlkd_loss(inputs: Inputs) -> Tensor:
    """Return the MLKD loss with all of the formula's Gram matrices."""
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
    """Return the median entry of every sample's features, by torch's ``kthvalue``."""
    rows = inputs.features.flatten(1)
    return rows.kthvalue(rows.shape[1] // 2, dim=1).values


@dataclass(frozen=True)
class Group:
    """Computations that are timed in pairs with one reference."""

    name: str  # name of the reference
    reference: Computation  # the denominator of the ratios
    contenders: dict[str, tuple[Computation, float]]  # by name, the computation and its largest wanted ratio
    rounds_share: float = 1.0  # share of the rounds, below 1 for slow computations


GROUPS = (
    Group(
        "plain kl_div",
        plain_loss,
        {
            "soft_target_loss": (lambda x: soft_target_loss(x.student, x.teacher), 0.7),
            "lskd_loss": (lambda x: lskd_loss(x.student, x.teacher), 1.1),
            "ckd_loss": (lambda x: ckd_loss(x.student, x.teacher), 4.2),
            "dkd_loss": (lambda x: dkd_loss(x.student, x.teacher, x.targets), 1.5),
            "dkd_loss, standardized": (
                lambda x: dkd_loss(standardize(x.student), standardize(x.teacher), x.targets), 2.0,
            ),
            "sfkd_loss": (lambda x: sfkd_loss(x.student, x.teacher, keep=0.5), 2.6),
            "sfkd_loss, -inf": (lambda x: sfkd_loss(x.student, x.teacher, keep=0.5, fill="-inf"), 2.6),
        },
    ),
    Group(
        "plain mlkd",
        plain_mlkd_loss,
        {"mlkd_loss": (lambda x: mlkd_loss(x.student, x.strong[0], x.teacher, x.strong[1]), 0.6)},
        rounds_share=0.05,
    ),
    Group(
        "kthvalue of features",
        kth_values,
        {
            "keep_salient": (lambda x: keep_salient(x.features, keep=0.5), 1.2),
            "keep_salient, magnitude": (lambda x: keep_salient(x.features, keep=0.5, by="magnitude"), 1.2),
            "keep_salient, after ReLU": (lambda x: keep_salient(x.activations, keep=0.7), 1.2),
        },
        rounds_share=0.1,
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One measured computation; a loss includes its backward pass."""

    name: str  # name of the computation
    pair: Paired  # its time, and the ratio to the reference, which is the nearest row above without a target
    target: float | None  # largest wanted ratio; None for a reference
    peak_mib: float  # peak memory of all tensors during both passes in MiB, without inputs
    kept_mib: float  # memory kept by the forward pass for the backward pass in MiB, without inputs

    @property
    def settled(self) -> bool:
        """Whether the interval is within 5 % of the ratio."""
        return self.pair.within(WITHIN)


def run_losses(
    *, rounds: int = 400, batch: int = 512, classes: int = 1000, device: torch.device | str = "cpu"
) -> list[Row]:
    """Measure every loss on random logits (B, C), and masking on random features.

    Timing stops after ``rounds`` pairs of calls, or once the ratio is known within 5 %. Every reference is followed by
    the rows that are compared with it.

    Raises:
        ValueError: if a number is too small.
    """
    check_at_least("rounds", rounds, 1)
    check_at_least("batch", batch, 1)
    check_at_least("classes", classes, 2)
    inputs = _inputs(batch, classes, device)
    if torch.device(device).type == "cpu":
        # glibc keeps freed memory up to twice the largest block, of at most 32 MiB, that was ever freed. Training frees
        # such blocks; without one, only some of the calls below would pay page faults.
        torch.empty(31 << 20, dtype=torch.uint8)
    return [row for group in GROUPS for row in _measure(group, inputs, rounds=rounds, device=device)]


def format_rows(rows: list[Row]) -> str:
    """Return the measurements as a table, and what to do if an interval is wide.

    Example:
        >>> plain = Row("plain", Paired(1.5e-3, 1.5e-3, 1.0, 1.0, 1.0), None, 8.0, 4.0)
        >>> ckd = Row("ckd", Paired(1.5e-3, 5.5e-3, 3.5, 3.1, 3.6), 4.2, 9.0, 6.0)
        >>> print(format_rows([plain, ckd]))
        loss      ms  x reference  95 % interval  target        peak MiB  kept MiB
        plain   1.50         1.00              -       -            8.00      4.00
        ckd     5.50         3.50   3.10 to 3.60*   4.20  met       9.00      6.00
        * not within 5 % of the ratio after the last round: quiet the machine, or give more --rounds
    """
    width = max(len("loss"), *(len(row.name) for row in rows))
    lines = [f"{'loss':<{width}}  {'ms':>6}  x reference  95 % interval  target        peak MiB  kept MiB"]
    for row in rows:
        pair, interval, target, verdict = row.pair, "-", "-", ""
        if row.target is not None:
            interval, target = f"{pair.low:.2f} to {pair.high:.2f}", f"{row.target:.2f}"
            verdict = "met" if pair.ratio <= row.target else "missed"
        lines.append(
            f"{row.name:<{width}}  {1e3 * pair.second:>6.2f}  {pair.ratio:>11.2f}  {interval:>13}"
            f"{' ' if row.settled else '*'} {target:>6}  {verdict:<6}  {row.peak_mib:>6.2f}  {row.kept_mib:>8.2f}"
        )
    if not all(row.settled for row in rows):
        lines.append("* not within 5 % of the ratio after the last round: quiet the machine, or give more --rounds")
    return "\n".join(lines)


def _inputs(batch: int, classes: int, device: torch.device | str) -> Inputs:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, batch, classes, generator=generator).to(device)
    features = torch.randn(max(1, batch // 8), *FEATURE_SHAPE, generator=generator).to(device)
    # A logit layer's output has a gradient but is no leaf that accumulates gradients.
    return Inputs(
        student=logits[0].requires_grad_(),
        teacher=logits[1],
        targets=torch.randint(classes, (batch,), generator=generator).to(device),
        strong=(logits[2].requires_grad_(), logits[3]),
        features=features,
        activations=features.relu(),
    )


def _measure(group: Group, inputs: Inputs, *, rounds: int, device: torch.device | str) -> list[Row]:
    def step(run: Computation) -> object:
        result = run(inputs)
        if not result.requires_grad:
            return result
        return torch.autograd.grad(result, (inputs.student, inputs.strong[0]), allow_unused=True)

    given = tensors_in(vars(inputs))

    def row(name: str, run: Computation, pair: Paired, target: float | None) -> Row:
        peak = peak_bytes(lambda: step(run), given=given)
        kept = bytes_kept_for_backward(lambda: run(inputs), given=given)
        return Row(name, pair, target, peak / 2**20, kept / 2**20)

    most = max(1, round(rounds * group.rounds_share))
    rows = []
    for name, (run, target) in group.contenders.items():
        steps = partial(step, group.reference), partial(step, run)
        rows.append(row(name, run, paired(*steps, within=WITHIN, least=LEAST, most=most, device=device), target))
    first = statistics.median(row.pair.first for row in rows)
    return [row(group.name, group.reference, Paired(first, first, 1.0, 1.0, 1.0), None), *rows]
