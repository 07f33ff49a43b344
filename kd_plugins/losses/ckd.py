"""Contrastive distillation between the samples of a batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .._checks import check_choice, check_positive
from ..transforms.precision import autocast_off
from ..transforms.temperature import temperature_column
from ._cosine import row_cosines, unit_rows
from ._gather import gather_rows
from ._inputs import logit_pair
from ._module import LossModule

TRIPLES = ("teacher_student_student", "student_teacher_teacher", "student_teacher_student")
"""Anchor, positive of the same sample, negatives of the other samples."""


def ckd_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    temperature: float | Tensor = 1.0,
    triple: str = "teacher_student_student",
    gather: bool = False,
) -> Tensor:
    r"""Contrast each sample's pair of student and teacher logits with the pairs of different samples (CKD).

    .. math::
        L = -\frac{1}{B} \sum_i \log \frac{\exp(\cos(v_i, z_i) / \tau)}{\sum_j \exp(\cos(v_i, z_j) / \tau)}

    - :math:`z_i, v_i`: student's and teacher's logits of sample i, compared by their cosine over the classes,
    - :math:`\tau`: temperature,
    - :math:`B`: batch size; the other B - 1 samples of the batch are the negatives, including those of the same class.

    The formula shows the triple (anchor, positive, negative) = ``teacher_student_student``.
    ``student_teacher_teacher`` exchanges the two sides, and ``student_teacher_student`` compares a student with its
    teacher on the diagonal and with the other students elsewhere. The sum has each j once, as in the paper's pseudocode
    and the authors' code; the paper's equation has the positive twice. The gradient is exact for logits with a norm of
    at least 0.5 and bounded below, so a zero-initialised head can train. It can be differentiated once.

    Args:
        student: logits, shape (B, C), C >= 2.
        teacher: logits, shape (B, C); receives no gradient.
        temperature: :math:`\tau > 0`: a number, or a tensor with 1 or B elements, which receives a gradient.
        triple: which logits are anchor, positive and negatives: one of ``TRIPLES``.
        gather: take negatives from all processes of the default group, with gradient. The mean of loss and gradient
            over the processes is then that of one process with the whole batch, even if local batches differ in size.

    Returns:
        Scalar, float32 at least.

    Raises:
        ValueError: on shapes that do not fit, or an argument out of range.

    References:
        Zhu et al., CKD: Contrastive Knowledge Distillation from A Sample-wise Perspective, Eq. (13), Fig. 5, Table VII.

    Example:
        >>> logits = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> ckd_loss(logits, logits)
        tensor(0.3133)
    """
    check_choice("triple", triple, TRIPLES)
    z, v = logit_pair(student, teacher)
    tau = temperature_column(temperature, len(z))
    with autocast_off(z):
        anchors = v if triple == "teacher_student_student" else z
        columns = v if triple == "student_teacher_teacher" else z
        everyone, offset, weight = gather_rows(columns) if gather else (columns, 0, None)
        cosines = row_cosines(anchors, None if everyone is anchors else everyone)
        target = torch.arange(offset, offset + len(z), device=z.device)
        if triple == "student_teacher_student":
            positives = (unit_rows(z) * unit_rows(v)).sum(1, keepdim=True)
            cosines = cosines.scatter(1, target.unsqueeze(1), positives)
        loss = F.cross_entropy(cosines / tau, target)
        return loss if weight is None else loss * weight


class CKDLoss(LossModule):
    """Module form of :func:`ckd_loss`."""

    # At a student that equals its teacher it is far from 0 if most samples are alike, as a detector's proposals are.
    has_floor = True

    def __init__(
        self, *, temperature: float = 1.0, triple: str = "teacher_student_student", gather: bool = False
    ) -> None:
        super().__init__(temperature=temperature, triple=triple, gather=gather)
        check_positive("temperature", temperature)
        check_choice("triple", triple, TRIPLES)

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the loss of logits (B, C) against logits (B, C)."""
        return ckd_loss(student, teacher, **self.hyperparameters)
