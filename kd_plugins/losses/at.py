"""Attention transfer: distillation of spatial attention maps."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .._checks import check_at_least, check_choice, check_positive
from ..transforms.attention import attention_map
from ._cosine import unit_rows
from ._inputs import LENGTH_FLOOR, sized_pair
from ._module import LossModule

FORMS = ("mean_squared", "norm")


def attention_transfer_loss(
    student: Tensor, teacher: Tensor, *, power: float = 2, form: str = "mean_squared", beta: float = 1.0, p: float = 2
) -> Tensor:
    r"""Difference of the normalised attention maps of student and teacher (AT).

    .. math::
        L = \frac{1}{BHW} \sum_i \Bigl\lVert \frac{Q^s_i}{\lVert Q^s_i \rVert_2} -
            \frac{Q^t_i}{\lVert Q^t_i \rVert_2} \Bigr\rVert_2^2
        \qquad \text{or} \qquad
        L = \frac{\beta}{2B} \sum_i \Bigl\lVert \frac{Q^s_i}{\lVert Q^s_i \rVert_2} -
            \frac{Q^t_i}{\lVert Q^t_i \rVert_2} \Bigr\rVert_p

    - :math:`Q^s_i, Q^t_i`: attention of sample i as a vector of H * W positions, see
      :func:`~kd_plugins.transforms.attention_map`, of activations that are average-pooled to the smaller size,
    - :math:`\beta, p, B`: factor and order of the norm, and batch size.

    ``form="norm"``, on the right, is the papers' equation for one pair of layers. Public code, followed by default,
    takes the mean of the squared difference, on the left, to which the published weight (1000) belongs. Student and
    teacher may have different numbers of channels. Where Q is shorter than 1e-4, its gradient is bounded.

    Args:
        student: activation, shape (B, c, H, W).
        teacher: activation, shape (B, c', H', W'); receives no gradient.
        power: of the activation in the attention map, at least 1.
        form: ``"mean_squared"`` or ``"norm"``.
        beta: :math:`\beta > 0`, only for ``form="norm"``.
        p: at least 1, only for ``form="norm"``.

    Returns:
        Scalar, float32 at least. It can be differentiated once.

    Raises:
        ValueError: on shapes that do not fit, or an argument out of range.

    References:
        Zagoruyko, Komodakis, Paying More Attention to Attention, ICLR 2017, Eq. (2). SFKD, under review, Eq. (3).

    Example:
        >>> student, teacher = torch.tensor([[[[2.0, 0.0]]]]), torch.tensor([[[[0.0, 3.0]]]])
        >>> attention_transfer_loss(student, teacher)  # unit vectors (1, 0) and (0, 1): (1 + 1) / 2
        tensor(1.)
    """
    check_attention_transfer(power=power, form=form, beta=beta, p=p)
    q_s, q_t = (
        unit_rows(attention_map(x, power=power).flatten(1), floor=LENGTH_FLOOR) for x in sized_pair(student, teacher)
    )
    if form == "mean_squared":
        return F.mse_loss(q_s, q_t)
    return beta / 2 * torch.linalg.vector_norm(q_s - q_t, ord=p, dim=1).mean()


def check_attention_transfer(*, power: float, form: str, beta: float, p: float) -> None:
    """Raise ``ValueError`` on invalid keywords of :func:`attention_transfer_loss`."""
    check_at_least("power", power, 1)
    check_choice("form", form, FORMS)
    check_positive("beta", beta)
    check_at_least("p", p, 1)
    if form != "norm" and (beta != 1 or p != 2):
        raise ValueError(
            f"beta and p belong to form='norm', found beta={beta!r} and p={p!r} with form={form!r}; weight the loss "
            "as a term of the criterion instead"
        )


class AttentionTransferLoss(LossModule):
    """Module form of :func:`attention_transfer_loss`."""

    def __init__(self, *, power: float = 2, form: str = "mean_squared", beta: float = 1.0, p: float = 2) -> None:
        super().__init__(power=power, form=form, beta=beta, p=p)
        check_attention_transfer(power=power, form=form, beta=beta, p=p)

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the loss of an activation (B, c, H, W) against an activation (B, c', H', W')."""
        return attention_transfer_loss(student, teacher, **self.hyperparameters)

    def extra_repr(self) -> str:
        """Return the hyperparameters that matter."""
        return super().extra_repr() if self.form == "norm" else f"power={self.power}, form={self.form!r}"
