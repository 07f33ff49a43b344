"""Class-wise contrast between the samples of a batch."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from .._checks import check_class_indices, check_positive
from ..transforms.precision import autocast_off
from ._cosine import row_cosines
from ._inputs import logit_pair
from ._module import LossModule


def supcon_loss(student: Tensor, teacher: Tensor, targets: Tensor, *, temperature: float = 1.0) -> Tensor:
    r"""Contrast each teacher's logits with the student's of the same class and of other classes (SupCon).

    .. math::
        L = -\frac{1}{B} \sum_i \frac{1}{\lvert P(i) \rvert} \sum_{p \in P(i)}
            \log \frac{\exp(\cos(v_i, z_p) / \tau)}{\sum_j \exp(\cos(v_i, z_j) / \tau)}

    - :math:`z_i, v_i`: student's and teacher's logits of sample i,
    - :math:`P(i)`: samples of the batch with the label of i, including i,
    - :math:`\tau, B`: temperature and batch size.

    It is the class-wise counterpart of :func:`ckd_loss`, with the same gradient, which can be differentiated once.
    CKD's Table VI compares with it, without its equation; here the positives are outside the logarithm.

    Args:
        student: logits, shape (B, C), C >= 2.
        teacher: logits, shape (B, C); receives no gradient.
        targets: class indices, shape (B,).
        temperature: :math:`\tau > 0`.

    Returns:
        Scalar, float32 at least.

    Raises:
        ValueError: on shapes that do not fit, soft labels, or an argument out of range.

    References:
        Khosla et al., Supervised Contrastive Learning, NeurIPS 2020, Eq. (2). Zhu et al., CKD, 2024, Table VI.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> supcon_loss(logits, logits, torch.tensor([0, 1]))  # two classes: as CKD
        tensor(0.3133)
    """
    z, v = logit_pair(student, teacher)
    targets = check_class_indices("SupCon", targets, batch=len(z), classes=z.shape[1])
    check_positive("temperature", temperature)
    with autocast_off(z):
        log_p = F.log_softmax(row_cosines(v, z) / temperature, dim=1)
        positive = (targets[:, None] == targets[None]).to(log_p.dtype)
        return -((positive * log_p).sum(1) / positive.sum(1)).mean()


class SupConLoss(LossModule):
    """Module form of :func:`supcon_loss`."""

    def __init__(self, *, temperature: float = 1.0) -> None:
        super().__init__(temperature=temperature)
        check_positive("temperature", temperature)

    def forward(self, student: Tensor, teacher: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of logits (B, C) against logits (B, C) and labels (B,)."""
        return supcon_loss(student, teacher, targets, **self.hyperparameters)
