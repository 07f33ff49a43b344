"""SFKD on feature maps: loss on the teacher's largest entries."""

from __future__ import annotations

from torch import Tensor

from ..transforms.salient import check_salient, keep_salient
from ._inputs import check_features
from ._module import LossModule
from .at import attention_transfer_loss, check_attention_transfer
from .fitnet import hint_loss


def sfkd_hint_loss(student: Tensor, teacher: Tensor, *, keep: float | int, by: str = "value") -> Tensor:
    r"""Mean squared difference from the K largest entries of the teacher's feature map (SFKD, feature form).

    .. math:: L = \frac{1}{B c H W} \sum_i \lVert F^s_i - F^t_i \odot M_i \rVert_2^2

    - :math:`F^s_i, F^t_i`: student's and teacher's map of sample i, of B, c channels at H x W positions,
    - :math:`M_i`: :func:`~kd_plugins.transforms.salient_mask` of the teacher's map before sizes are matched.

    The paper's Eq. (2) is half of the sum; its weight, 100, belongs to the mean. With ``keep=1.0`` this is
    :func:`hint_loss`, bit for bit.

    Args:
        student: map, shape (B, c, H, W), behind a regressor where the student has other channels.
        teacher: map, shape (B, c, H', W'); receives no gradient.
        keep: a fraction in (0, 1] of the entries of a sample, or an int, their number.
        by: ``"value"`` or ``"magnitude"``.

    Returns:
        Scalar, float32 at least.

    Raises:
        ValueError: on shapes that do not fit, or an argument out of range.

    References:
        Efficient Knowledge Distillation via Salient Feature Masking (SFKD), anonymous, under review, Eq. (2) and (4).

    Example:
        >>> import torch
        >>> teacher = torch.tensor([[[[1.0]], [[3.0]]]])
        >>> sfkd_hint_loss(torch.ones(1, 2, 1, 1), teacher, keep=1)  # (1 - 0)^2 and (1 - 3)^2
        tensor(2.5000)
    """
    return hint_loss(student, _salient(teacher, keep, by))


def sfkd_attention_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    keep: float | int,
    by: str = "value",
    power: float = 2,
    form: str = "mean_squared",
    beta: float = 1.0,
    p: float = 2,
) -> Tensor:
    r"""Difference of attention maps, the teacher's from its K largest activations (SFKD, attention form).

    .. math:: L = \mathrm{AT}(A^s,\; A^t \odot M)

    - :math:`A^s, A^t`: student's and teacher's activation,
    - :math:`M`: :func:`~kd_plugins.transforms.salient_mask` of the teacher's activation before sizes are matched,
    - :math:`\mathrm{AT}`: :func:`attention_transfer_loss`, equal bit for bit with ``keep=1.0``.

    The paper's Eq. (3) is ``form="norm"``; its weight, 1000, belongs to the default.

    Args:
        student: activation, shape (B, c, H, W).
        teacher: activation, shape (B, c', H', W'); receives no gradient.
        keep: a fraction in (0, 1] of the entries of a sample, or an int, their number.
        by: ``"value"`` or ``"magnitude"``.
        power: see :func:`attention_transfer_loss`, as the rest.
        form: ``"mean_squared"`` or ``"norm"``.
        beta: only for ``form="norm"``.
        p: only for ``form="norm"``.

    Returns:
        Scalar, float32 at least. It can be differentiated once.

    Raises:
        ValueError: on shapes that do not fit, or an argument out of range.

    References:
        Efficient Knowledge Distillation via Salient Feature Masking (SFKD), anonymous, under review, Eq. (3) and (4).

    Example:
        >>> import torch
        >>> student, teacher = torch.tensor([[[[2.0, 0.0]]]]), torch.tensor([[[[1.0, 3.0]]]])
        >>> sfkd_attention_loss(student, teacher, keep=1)  # unit vectors (1, 0) and (0, 1)
        tensor(1.)
    """
    return attention_transfer_loss(student, _salient(teacher, keep, by), power=power, form=form, beta=beta, p=p)


def _salient(teacher: Tensor, keep: float | int, by: str) -> Tensor:
    check_features("teacher", teacher)
    return keep_salient(teacher.detach(), keep=keep, by=by)


class SFKDHintLoss(LossModule):
    """Module form of :func:`sfkd_hint_loss`."""

    def __init__(self, *, keep: float | int, by: str = "value") -> None:
        super().__init__(keep=keep, by=by)
        check_salient(keep=keep, by=by)

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the loss of a map (B, c, H, W) against a map (B, c, H', W')."""
        return sfkd_hint_loss(student, teacher, **self.hyperparameters)


class SFKDAttentionLoss(LossModule):
    """Module form of :func:`sfkd_attention_loss`."""

    def __init__(
        self,
        *,
        keep: float | int,
        by: str = "value",
        power: float = 2,
        form: str = "mean_squared",
        beta: float = 1.0,
        p: float = 2,
    ) -> None:
        super().__init__(keep=keep, by=by, power=power, form=form, beta=beta, p=p)
        check_salient(keep=keep, by=by)
        check_attention_transfer(power=power, form=form, beta=beta, p=p)

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the loss of an activation (B, c, H, W) against an activation (B, c', H', W')."""
        return sfkd_attention_loss(student, teacher, **self.hyperparameters)
