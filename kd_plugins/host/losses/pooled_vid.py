"""torchdistill's VID loss for teacher maps that are larger than the student's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor
from torchdistill.losses.mid_level import VIDLoss

from ...transforms.precision import widen
from .io_dict import IODict, captured, captured_tensor


class PooledVIDLoss(VIDLoss):
    r"""``VIDLoss`` on teacher maps that are average-pooled to the student's size.

    .. math::
        L = \sum_p w_p \, \mathrm{mean} \, \tfrac12 \bigl((\mu_p - \bar F_p)^2 / \sigma_p^2 + \log \sigma_p^2\bigr)

    - :math:`\mu_p, \sigma_p^2`: mean and variance from the regressor of pair p, with weight :math:`w_p`,
    - :math:`\bar F_p`: the teacher's map, pooled if it is larger.

    ``VIDStudent`` pools a larger student map before the regressor. CRD's code pools in the same two places.

    Args:
        feature_pairs: as of ``VIDLoss``: name -> ``teacher`` and ``student``, each with ``path`` and ``io``, and
            ``weight``.

    Raises:
        ValueError: on a student map that is larger than the teacher's.

    References:
        Ahn et al., Variational Information Distillation for Knowledge Transfer, CVPR 2019, Eq. (4) to (6).

    Example:
        >>> import torch
        >>> place = {"path": "map", "io": "output"}
        >>> loss = PooledVIDLoss({"one": {"student": place, "teacher": place}})
        >>> mean_and_variance = torch.ones(1, 1, 1, 1), torch.ones(1, 1, 1, 1)
        >>> teacher = torch.tensor([[[[0.0, 2.0], [4.0, 6.0]]]])
        >>> loss({"map": {"output": mean_and_variance}}, {"map": {"output": teacher}})  # (1 - 3)^2 / 2
        tensor(2.)
    """

    def __init__(self, feature_pairs: Mapping[str, Any]) -> None:
        super().__init__(feature_pairs)

    def forward(self, student_io_dict: IODict, teacher_io_dict: IODict, targets: Tensor | None = None) -> Tensor:
        """Return the loss, a scalar."""
        total: Any = 0
        for name, pair in self.feature_pairs.items():
            places = {side: (pair[side]["path"], pair[side]["io"]) for side in ("student", "teacher")}
            mean, variance = map(widen, captured(student_io_dict, "student", *places["student"]))
            teacher = captured_tensor(teacher_io_dict, "teacher", *places["teacher"]).detach().to(mean.dtype)
            (height, width), larger = mean.shape[2:], teacher.shape[2:]
            if height > larger[0] or width > larger[1]:
                raise ValueError(
                    f"PooledVIDLoss, pair {name!r}: the student's map must not be larger than the teacher's, found "
                    f"{height}x{width} and {larger[0]}x{larger[1]}; set size: [{larger[0]}, {larger[1]}] in the pair "
                    "of VIDStudent"
                )
            given = {"student": (mean, variance), "teacher": F.adaptive_avg_pool2d(teacher, (height, width))}
            io_dicts = [{path: {io: given[side]}} for side, (path, io) in places.items()]
            total = total + VIDLoss({name: pair})(*io_dicts)
        return total
