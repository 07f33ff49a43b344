"""LAKD: attention-weighted feature losses of locally learning modules, and the class attention of the last."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from .._checks import check_at_least
from ..transforms.precision import widen
from ._inputs import sized_pair
from ._module import LossModule
from .cat import cat_loss


def local_feature_loss(student: Tensor, teacher: Tensor, *, attention: Tensor | None = None) -> Tensor:
    r"""Mean squared difference of two feature maps, larger where the attention is.

    .. math::
        L = \frac{1}{B c H W} \sum_{i, k, h, w} \bigl((1 + A_{ihw}) (F^T_{ikhw} - F^S_{ikhw})\bigr)^2

    - :math:`F^S_i, F^T_i`: student's and teacher's map of sample i, c channels at H x W positions,
    - :math:`A_i`: attention, as of :func:`kd_plugins.transforms.activation_map`; 0 is the plain loss.

    Maps of two sizes are average-pooled to the smaller one. Attention of another size is averaged or interpolated to
    it, and rescaled to each sample's old range. The paper's Eq. (5) is the plain loss; the page with the weights is not
    public, so their place in the formula is this package's choice.

    Args:
        student: shape (B, c, H, W).
        teacher: shape (B, c, H', W'); receives no gradient.
        attention: shape (B, h, w) or (B, 1, h, w), without gradient; None for the plain loss.

    Returns:
        Scalar, float32 at least.

    Raises:
        ValueError: on other shapes.

    References:
        Zhang et al., LAKD: Activation Mapping Distillation Based on Local Learning, 2024, Eq. (5) and Table 5.

    Example:
        >>> import torch
        >>> student, teacher = torch.zeros(1, 1, 1, 2), torch.tensor([[[[1.0, 2.0]]]])
        >>> local_feature_loss(student, teacher, attention=torch.tensor([[[1.0, 0.0]]]))  # (4 + 4) / 2
        tensor(4.)
    """
    s, t = sized_pair(student, teacher)
    if s.shape[1] != t.shape[1]:
        raise ValueError(
            f"student and teacher must have the same number of channels, found maps {tuple(student.shape)} and "
            f"{tuple(teacher.shape)}; set teacher_channels of LAKDStudent, which adds a 1x1 regressor"
        )
    # Summing over the channels first avoids a weighted map.
    squares = F.mse_loss(s, t, reduction="none").sum(1, keepdim=True)
    if attention is not None:
        squares = squares * (1 + _attention_at(attention.detach(), s)).square()
    return squares.sum() / s.numel()


def _attention_at(attention: Tensor, feature_map: Tensor) -> Tensor:
    """Return the attention at the map's size, shape (B, 1, H, W), in each sample's old range."""
    a = attention[:, None] if attention.ndim == 3 else attention
    if a.ndim != 4 or a.shape[1] != 1 or a.shape[0] != feature_map.shape[0]:
        raise ValueError(
            f"attention must have shape (B, H, W) or (B, 1, H, W) with B = {feature_map.shape[0]}, found "
            f"{tuple(attention.shape)}"
        )
    a = widen(a).to(feature_map.dtype)
    size = (feature_map.shape[2], feature_map.shape[3])
    if tuple(a.shape[2:]) == size:
        return a
    low, high = a.amin((2, 3), keepdim=True), a.amax((2, 3), keepdim=True)
    if a.shape[2] >= size[0] and a.shape[3] >= size[1]:
        a = F.adaptive_avg_pool2d(a, size)
    else:
        a = F.interpolate(a, size, mode="bilinear", align_corners=False)
    now_low, now_high = a.amin((2, 3), keepdim=True), a.amax((2, 3), keepdim=True)
    spread = now_high - now_low
    # A map that became constant gets the low end.
    return low + (high - low) * (a - now_low) / spread.masked_fill(spread == 0, 1)


def lakd_loss(
    local_losses: Tensor,
    student_maps: Tensor | None = None,
    teacher_maps: Tensor | None = None,
    *,
    alpha: float = 0.5,
    beta: float = 1.0,
    normalize: bool = True,
) -> Tensor:
    r"""Class attention of the last module and the feature losses of all modules: LAKD without its cross-entropy.

    .. math:: \alpha L_h + (1 - \alpha) L_{att} + \beta \sum_l L_f^l

    - :math:`L_h`: cross-entropy with the labels, in a config a separate term with weight :math:`\alpha`,
    - :math:`L_{att}`: :func:`cat_loss` of the class activation maps, at the size that they are given in,
    - :math:`L_f^l`: :func:`local_feature_loss` of module l, which reaches only the parameters of this module.

    The paper's equation has one layer l. There is no KL divergence from the teacher's probabilities.

    Args:
        local_losses: one number per module, shape (n,).
        student_maps: class activation maps, shape (B, C, r, r); not used where alpha is 1.
        teacher_maps: class activation maps, shape (B, C, r, r); receives no gradient.
        alpha: from 0 to 1.
        beta: at least 0.
        normalize: whether each class's map is divided by its norm.

    Returns:
        Scalar, float32 at least.

    Raises:
        ValueError: on shapes that do not fit, or maps that are missing.

    References:
        Zhang et al., LAKD: Activation Mapping Distillation Based on Local Learning, 2024, Eq. (6).

    Example:
        >>> import torch
        >>> local, maps = torch.tensor([0.5, 0.25]), torch.ones(1, 2, 2, 2)
        >>> lakd_loss(local, maps, 3 * maps, beta=2.0, normalize=False)  # 0.5 * 2^2 + 2 * 0.75
        tensor(3.5000)
    """
    if not local_losses.is_floating_point() or local_losses.ndim != 1 or not len(local_losses):
        raise ValueError(
            f"local_losses must hold one number per module, shape (n,), found {local_losses.dtype} of shape "
            f"{tuple(local_losses.shape)}"
        )
    loss = beta * widen(local_losses).sum()
    if alpha == 1:
        return loss
    if student_maps is None or teacher_maps is None:
        raise ValueError("lakd_loss needs student_maps and teacher_maps unless alpha is 1")
    return loss + (1 - alpha) * cat_loss(student_maps, teacher_maps, size=student_maps.shape[-1], normalize=normalize)


class LAKDLoss(LossModule):
    """Module form of :func:`lakd_loss`.

    ``extra_tensors`` is the number of tensors that it takes, without class attention no maps; ``tensor_weights`` is the
    weight of each tensor's sum in the loss, None if the loss has no such sum.
    """

    def __init__(self, *, alpha: float = 0.5, beta: float = 1.0, normalize: bool = True) -> None:
        super().__init__(alpha=alpha, beta=beta, normalize=normalize)
        check_at_least("alpha", alpha, 0)
        if alpha > 1:
            raise ValueError(f"alpha must be at most 1, found {alpha!r}; 1 - alpha weights the class attention")
        check_at_least("beta", beta, 0)
        self.extra_tensors = 1 if alpha == 1 else 3
        self.tensor_weights: tuple[float | None, ...] = (float(beta), None, None)

    def forward(
        self, local_losses: Tensor, student_maps: Tensor | None = None, teacher_maps: Tensor | None = None
    ) -> Tensor:
        """Return the loss of local losses (n,) and class maps (B, C, r, r)."""
        return lakd_loss(local_losses, student_maps, teacher_maps, **self.hyperparameters)
