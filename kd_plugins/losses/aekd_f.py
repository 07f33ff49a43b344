"""AEKD on features: hints from several teachers, with weights from the agreement of their gradients."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..transforms.feature_map import match_size
from ..transforms.precision import widen
from ._inputs import feature_pair
from ._min_norm import check_cap, row_weights
from ._module import LossModule
from ._teachers import check_mask, check_teachers, mask_teacher, told_apart


def aekd_feature_loss(
    student: Tensor | Sequence[Tensor],
    teachers: Sequence[Tensor],
    *,
    cap: float = 0.6,
    keep: float | int | None = None,
    by: str = "value",
) -> Tensor:
    r"""Weighted sum of the hints of several teachers, along the shortest common descent direction (AEKD-F).

    .. math::
        L = \sum_m w_m H_m, \qquad H_m = \frac{1}{N_m} \lVert r_m(F) - F^m \rVert_2^2, \qquad
        w = \arg\min_{\sum_m w_m = 1,\; 0 \le w_m \le C}
            \tfrac12 \Bigl\lVert \sum_m w_m \frac{\partial H_m}{\partial F} \Bigr\rVert^2

    - :math:`F, F^m`: feature map of the student and of teacher m, with :math:`N_m` entries,
    - :math:`r_m`: regressor from F to the shape of :math:`F^m`, in a model wrapper,
    - :math:`w_m, C`: weight and its cap, as in :func:`aekd_loss`.

    Gradients are comparable only with respect to the same tensor, here the student's map F, because the outputs of
    different regressors are in unrelated spaces. For a list of maps, autograd computes them through the regressors to
    F; without gradients, as in an evaluation, the weights of a list are equal.

    Args:
        student: one map that all hints compare, shape (B, c, H, W), the teachers' too (regressors shared, or none);
            or a list of M + 1: first F, then :math:`r_m(F)` for each teacher.
        teachers: feature map of each teacher, shape (B, c, H, W); receive no gradient. Maps of other sizes are
            average-pooled: for a single student map all to the smallest, in a list each pair to the smaller.
        cap: :math:`C` in [1 / M, 1].
        keep: mask each teacher's map first: a fraction in (0, 1] of its c * H * W entries, or an int, their number.
        by: ``"value"`` or ``"magnitude"``, see :func:`~kd_plugins.transforms.keep_salient`.

    Returns:
        Scalar, float32 at least.

    Raises:
        ValueError: on shapes that do not fit, no teachers, a list whose first map is not what the others were made of,
            or an argument out of range.

    References:
        Du et al., Agree to Disagree, NeurIPS 2020. The mask: SFKD, under review, Section 4.3; see :func:`aekd_loss`.

    Example:
        >>> student = torch.zeros(1, 1, 1, 1)
        >>> near, far = torch.full((1, 1, 1, 1), 1.0), torch.full((1, 1, 1, 1), -3.0)
        >>> aekd_feature_loss(student, [near, far], cap=1.0).round(decimals=3)  # gradients -2 and 6: 3/4 * 1 + 1/4 * 9
        tensor(3.)
    """
    check_teachers(teachers)
    count = len(teachers)
    check_cap(cap, count)
    check_mask(keep=keep, by=by)
    if isinstance(student, Tensor):
        return _hints_at_one_map(student, teachers, cap, keep, by)
    if len(student) != count + 1:
        raise ValueError(
            f"student must be one map, or a list of {count + 1}: the regressors' input, then the output of the "
            f"regressor for each of the {count} teachers; found {len(student)}"
        )
    shared, *regressed = student
    hints = []
    for number, (own, teacher) in enumerate(zip(regressed, teachers, strict=True)):
        f_s, f_t = told_apart(_compared, own, teacher, of=(number, count))
        hints.append(F.mse_loss(*match_size(f_s, mask_teacher(f_t, keep=keep, by=by))))
    return (row_weights(_gradients_at(shared, hints), cap=cap) * torch.stack(hints)).sum()


class AEKDFeatureLoss(LossModule):
    """Module form of :func:`aekd_feature_loss`."""

    def __init__(self, *, cap: float = 0.6, keep: float | int | None = None, by: str = "value") -> None:
        super().__init__(cap=cap, keep=keep, by=by)
        check_cap(cap)
        check_mask(keep=keep, by=by)

    def forward(self, student: Tensor | Sequence[Tensor], teachers: Sequence[Tensor]) -> Tensor:
        """Return the loss of a map (B, c, H, W), or of it and M regressed ones, against a map of each teacher."""
        return aekd_feature_loss(student, teachers, **self.hyperparameters)


def _hints_at_one_map(
    student: Tensor, teachers: Sequence[Tensor], cap: float, keep: float | int | None, by: str
) -> Tensor:
    pairs = [told_apart(_compared, student, teacher, of=(n, len(teachers))) for n, teacher in enumerate(teachers)]
    targets = [mask_teacher(f_t, keep=keep, by=by) for _, f_t in pairs]
    smallest = pairs[0][0]
    for target in targets:
        smallest, _ = match_size(smallest, target)
    differences = torch.stack([(smallest - match_size(target, smallest)[0]).flatten() for target in targets])
    # The gradients at the map as it is compared are these times 2 / N.
    return (row_weights(differences, cap=cap) * differences.square().mean(1)).sum()


def _compared(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    f_s, f_t = feature_pair(student, teacher)
    if f_s.shape[1] != f_t.shape[1]:
        raise ValueError(
            f"student and teacher must have the same number of channels, found {f_s.shape[1]} and {f_t.shape[1]} in "
            f"maps {tuple(f_s.shape)} and {tuple(f_t.shape)}; give the student a regressor for each teacher, here from "
            "its stage3: under train.student, auxiliary_model_wrapper: {key: RegressorStudent, kwargs: {pairs: "
            f"[{{name: a, student: stage3, channels: {f_t.shape[1]}}}, ...]}}}} and forward_hook: {{output: "
            "[points.stage3, regressors.a, ...]}, and these paths as student_module_path of the loss"
        )
    return f_s, f_t


def _gradients_at(shared: Tensor, hints: Sequence[Tensor]) -> Tensor:
    """Return the gradient of each of M hints at one tensor, up to a common factor, shape (M, N)."""
    if not (torch.is_grad_enabled() and hints[0].requires_grad):
        return hints[0].new_zeros(len(hints), 1)
    rows = []
    for number, hint in enumerate(hints):
        gradient = None
        if shared.requires_grad:
            # In half precision the gradient of a mean over many entries would round to 0.
            scaled = hint * shared.numel()
            (gradient,) = torch.autograd.grad(scaled, shared, retain_graph=True, allow_unused=True)
        if gradient is None:
            raise ValueError(
                f"the first student map, of shape {tuple(shared.shape)}, must be the regressors' input, but the map "
                f"for teacher {number + 1} of {len(hints)} was not computed from it; hook the input of the regressors, "
                "such as points.stage3, and put its path first in student_module_path"
            )
        rows.append(widen(gradient).flatten().to(hint.dtype))
    return torch.stack(rows)
