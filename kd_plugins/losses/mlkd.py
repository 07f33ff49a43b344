"""MLKD: distillation at sample, batch and class level, from two views of each image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .._checks import check_choice, check_positive
from ..transforms.standardize import standardize as z_score
from ._divergence import softened_kl
from ._gram import gram_distances
from ._inputs import logit_pair
from ._module import LossModule

TEMPERATURES = (2.0, 3.0, 4.0, 5.0, 6.0)
VARIANTS = ("paper", "authors")
READ_FROM_WEAK = (2, 6)
"""Temperatures at which the authors' strong divergence reads the weak view's logits."""


class _Views(NamedTuple):
    """Student's and teacher's logits (B, C) of one view."""

    student: Tensor
    teacher: Tensor


def mlkd_terms(
    student_weak: Tensor,
    student_strong: Tensor,
    teacher_weak: Tensor,
    teacher_strong: Tensor,
    *,
    temperatures: Sequence[float] = TEMPERATURES,
    standardize: bool = False,
    correction: int = 0,
    variant: str = "paper",
) -> dict[str, Tensor]:
    r"""Return the terms of :func:`mlkd_loss`, each with its factors, by name.

    Arguments and errors are those of :func:`mlkd_loss`.

    Returns:
        ``instance_weak``, ``instance_strong``, ``batch_weak``, ``class_weak`` and, in the paper's variant,
        ``batch_strong`` and ``class_strong``: scalars whose sum is the loss.
    """
    views = [_Views(*logit_pair(student_weak, teacher_weak)), _Views(*logit_pair(student_strong, teacher_strong))]
    return _terms(_z_scores(views, correction) if standardize else views, views, temperatures, variant)


def mlkd_loss(
    student_weak: Tensor,
    student_strong: Tensor,
    teacher_weak: Tensor,
    teacher_strong: Tensor,
    *,
    temperatures: Sequence[float] = TEMPERATURES,
    standardize: bool = False,
    correction: int = 0,
    variant: str = "paper",
) -> Tensor:
    r"""Agreement of predictions, of samples with each other and of classes with each other (MLKD).

    .. math::
        L = \sum_{\text{views}} \sum_t \frac{t^2}{B} \sum_i \mathrm{KL}(p_{t,i} \,\|\, q_{t,i})
            + \frac{1}{B} \lVert P_t P_t^\top - Q_t Q_t^\top \rVert_F^2
            + \frac{1}{C} \lVert P_t^\top P_t - Q_t^\top Q_t \rVert_F^2

    - :math:`p_{t,i}, q_{t,i}`: softmax of the teacher's and the student's logits of sample i over temperature t,
    - :math:`P_t, Q_t`: the matrices (B, C) of these rows,
    - :math:`B, C`: numbers of samples and classes.

    This is ``variant="paper"``. ``variant="authors"`` follows the authors' code: there are no Gram terms of the strong
    view; its divergence reads the *weak* logits at the temperatures 2 and 6 (the last ones if repeated); divergence and
    batch term of the weak view are multiplied by the share of samples whose confidence, the teacher's largest
    probability at temperature 1, is at most the median, and its class term by the share of classes whose summed
    probability is. That code's temperatures are (T, 3, 5, 2, 6), with T = 4, or 2 under standardization. The
    cross-entropy is a separate term.

    Args:
        student_weak: logits of the weakly augmented view, shape (B, C), C >= 2.
        student_strong: logits of the strongly augmented view of the same images, shape (B, C).
        teacher_weak: the teacher's, shape (B, C); receives no gradient.
        teacher_strong: likewise.
        temperatures: t, each above 0.
        standardize: Z-score the logits of the divergences, and of nothing else (LSKD).
        correction: of the standardization: 0 divides the variance by C, 1 by C - 1.
        variant: ``"paper"`` or ``"authors"``.

    Returns:
        Scalar, float32 at least. It can be differentiated once.

    Raises:
        ValueError: on shapes that do not fit, or an argument out of range.

    References:
        Jin, Wang, Lin, Multi-Level Logit Distillation, CVPR 2023, Eq. (5), (8), (12) and (13).

    Example:
        >>> teacher = torch.tensor([[1.0, 3.0], [2.0, -1.0]])
        >>> mlkd_loss(teacher, teacher, teacher, teacher)
        tensor(0.)
    """
    terms = mlkd_terms(
        student_weak, student_strong, teacher_weak, teacher_strong,
        temperatures=temperatures, standardize=standardize, correction=correction, variant=variant,
    )  # fmt: skip
    return torch.stack(list(terms.values())).sum()


def _terms(
    divergent: Sequence[_Views], plain: Sequence[_Views], temperatures: Sequence[float], variant: str
) -> dict[str, Tensor]:
    """Return the terms: the divergences of the first views (weak, strong), and the rest of the second views."""
    check_choice("variant", variant, VARIANTS)
    check_temperatures(temperatures)
    if plain[0].student.shape != plain[1].student.shape:
        raise ValueError(
            "weak and strong must be two views of the same batch, found logits of shapes "
            f"{tuple(plain[0].student.shape)} and {tuple(plain[1].student.shape)}"
        )
    # The authors' strong divergence reads weak logits at the last position of some temperatures.
    last = {t: i for i, t in enumerate(temperatures)}
    from_weak = {last[t] for t in READ_FROM_WEAK if t in last} if variant == "authors" else ()
    weak, strong = ([view] * len(temperatures) for view in divergent)
    strong = [weak[i] if i in from_weak else strong[i] for i in range(len(temperatures))]
    terms = {"instance_weak": _divergence(weak, temperatures), "instance_strong": _divergence(strong, temperatures)}
    batch, classes = plain[0].student.shape
    for view, name in zip(plain, ("weak", "strong"), strict=True):
        if name == "strong" and variant == "authors":
            continue
        over_samples, over_classes = gram_distances(view.student, view.teacher, temperatures)
        terms |= {f"batch_{name}": over_samples / batch, f"class_{name}": over_classes / classes}
    if variant == "authors":
        of_samples, of_classes = _low_shares(plain[0].teacher)
        shares = {"instance_weak": of_samples, "batch_weak": of_samples, "class_weak": of_classes}
        terms |= {name: terms[name] * share for name, share in shares.items()}
    return terms


def _z_scores(views: Sequence[_Views], correction: int) -> list[_Views]:
    return [_Views(*(z_score(side, correction=correction) for side in view)) for view in views]


def _divergence(views: Sequence[_Views], temperatures: Sequence[float]) -> Tensor:
    return torch.stack([softened_kl(*view, t, divisor=t) for view, t in zip(views, temperatures, strict=True)]).sum()


def _low_shares(teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Return the share of samples, and of classes, with at most the median mass in the teacher's probabilities."""
    probabilities = torch.softmax(teacher, dim=1)
    masses = probabilities.amax(1), probabilities.sum(0)
    of_samples, of_classes = ((mass <= mass.median()).to(teacher.dtype).mean() for mass in masses)
    return of_samples, of_classes


def check_temperatures(temperatures: Sequence[float]) -> None:
    """Raise ``ValueError`` unless ``temperatures`` is a non-empty sequence of numbers above 0."""
    if isinstance(temperatures, str) or not isinstance(temperatures, Sequence) or not temperatures:
        raise ValueError(f"temperatures must be a non-empty list of numbers above 0, found {temperatures!r}")
    for t in temperatures:
        check_positive("every one of temperatures", t)


class MLKDLoss(LossModule):
    """Module form of :func:`mlkd_loss`, on logits of both views in one batch, the weak ones first."""

    temperatures: Sequence[float]
    correction: int
    variant: str

    def __init__(
        self,
        *,
        temperatures: Sequence[float] = TEMPERATURES,
        standardize: bool = False,
        correction: int = 0,
        variant: str = "paper",
    ) -> None:
        check_temperatures(temperatures)
        super().__init__(
            temperatures=tuple(temperatures), variant=variant, standardize=standardize, correction=correction
        )
        check_choice("standardize", standardize, (False, True))
        check_choice("correction", correction, (0, 1))
        check_choice("variant", variant, VARIANTS)

    @property
    def takes_minus_inf(self) -> bool:
        """Whether a teacher's logit may be minus infinity, a class of probability 0."""
        return not self.standardize

    def forward(
        self, student: Tensor, teacher: Tensor, *, untransformed: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """Return the loss of logits (2B, C) against logits (2B, C), of the weak views, then of the strong ones.

        ``untransformed`` are both sides' logits before a transform that is about the divergences alone.
        """
        plain = _two_views(*(untransformed or (student, teacher)))
        divergent = _two_views(student, teacher)
        if self.standardize:
            divergent = _z_scores(divergent, self.correction)
        terms = _terms(divergent, plain, self.temperatures, self.variant)
        return torch.stack(list(terms.values())).sum()

    def extra_repr(self) -> str:
        """Return the hyperparameters that matter."""
        text = super().extra_repr()
        return text if self.standardize else text.partition(", standardize")[0]


def _two_views(student: Tensor, teacher: Tensor) -> list[_Views]:
    z, v = logit_pair(student, teacher)
    if len(z) % 2:
        raise ValueError(
            f"MLKD needs two views of every image in one batch, weak ones first, found {len(z)} rows of logits; in a "
            "config: dataset_wrapper: {key: TwoViews, ...} and collate_fn: collate_two_views"
        )
    return [_Views(*sides) for sides in zip(z.chunk(2), v.chunk(2), strict=True)]
