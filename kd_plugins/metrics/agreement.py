"""Agreement of student and teacher predictions, overall and on the teacher's errors."""

from __future__ import annotations

from torch import Tensor

from .._checks import check_class_indices, check_logit_pair


def agreement(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    r"""Share of the samples for which both models predict the same class (top-1 agreement, or fidelity).

    .. math:: \frac1n \sum_i [\hat y^S_i = \hat y^T_i]

    - :math:`\hat y^S_i, \hat y^T_i`: class of the largest logit of sample i, student's and teacher's.

    Args:
        student_logits: shape (B, C).
        teacher_logits: shape (B, C).

    Returns:
        Scalar from 0 to 1.

    Raises:
        ValueError: if the shapes do not match.

    References:
        Stanton et al., Does Knowledge Distillation Really Work?, NeurIPS 2021, Eq. (2).

    Example:
        >>> import torch
        >>> agreement(torch.eye(4), torch.eye(4)[[0, 1, 2, 2]])
        tensor(0.7500)
    """
    check_logit_pair(student_logits, teacher_logits)
    return (student_logits.argmax(1) == teacher_logits.argmax(1)).float().mean()


def extracurricular_knowledge(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor) -> Tensor:
    r"""Share of the teacher's errors that the student gets right (EK, extracurricular knowledge).

    .. math:: \mathrm{EK} = \frac{\sum_i [\hat y^T_i \ne y_i \wedge \hat y^S_i = y_i]}{\sum_i [\hat y^T_i \ne y_i]}

    - :math:`\hat y^S_i, \hat y^T_i`: class of the largest logit of sample i, student's and teacher's,
    - :math:`y_i`: its label.

    Args:
        student_logits: shape (B, C), of all samples at once, because a mean over batches differs.
        teacher_logits: shape (B, C).
        labels: class indices, shape (B,).

    Returns:
        Scalar from 0 to 1; NaN if the teacher makes no errors.

    Raises:
        ValueError: if the shapes do not match.

    References:
        Zhang et al., LAKD: Activation Mapping Distillation Based on Local Learning, 2024, Eq. (10).

    Example:
        >>> import torch
        >>> teacher, student = torch.eye(4)[[1, 2, 2, 3]], torch.eye(4)[[0, 3, 2, 0]]
        >>> extracurricular_knowledge(student, teacher, torch.tensor([0, 1, 2, 3]))  # wrong in 0 and 1, right in 0
        tensor(0.5000)
    """
    check_logit_pair(student_logits, teacher_logits)
    labels = check_class_indices(
        "extracurricular_knowledge", labels, batch=len(student_logits), classes=student_logits.shape[1]
    )
    wrong = teacher_logits.argmax(1) != labels
    right = student_logits.argmax(1) == labels
    return (wrong & right).float().sum() / wrong.float().sum()
