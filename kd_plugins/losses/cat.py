"""CAT-KD: distillation of class activation maps."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from .._checks import check_whole
from ..transforms.feature_map import average_pool
from ._cosine import unit_rows
from ._inputs import feature_pair
from ._module import LossModule

LENGTH_FLOOR = 1e-2
"""The gradient of shorter maps is bounded, because maps of a zero-initialised head have length 0."""


def cat_loss(student_maps: Tensor, teacher_maps: Tensor, *, size: int = 2, normalize: bool = True) -> Tensor:
    r"""Mean squared difference of pooled class activation maps (CAT-KD).

    .. math::
        L = \frac{1}{B C r^2} \sum_{i,j} \lVert \varphi(M^s_{ij}) - \varphi(M^t_{ij}) \rVert_2^2, \qquad
        \varphi(M) = \frac{P(M)}{\lVert P(M) \rVert_2}

    - :math:`M_{ij}`: student's or teacher's activation map of sample i for class j, see
      :func:`~kd_plugins.transforms.class_activation_maps`,
    - :math:`P, B, C`: average pooling to r x r, batch size and number of classes.

    The published code, followed here, normalises the map of each class separately, and for some pairs not at all
    (``normalize=False``: :math:`\varphi = P`). The gradient of pooled maps shorter than 0.01 is bounded. Pooling
    commutes with the head, so maps of features that are already pooled to r x r give the same loss in less time.

    Args:
        student_maps: shape (B, C, H, W).
        teacher_maps: shape (B, C, H', W'); receives no gradient.
        size: r, at most the smallest height or width.
        normalize: divide every pooled map by its length.

    Returns:
        Scalar, float32 at least. Normalised, it can be differentiated once.

    Raises:
        ValueError: on shapes that do not fit, or an argument out of range.

    References:
        Guo et al., Class Attention Transfer Based Knowledge Distillation, CVPR 2023, Eq. (5).

    Example:
        >>> import torch
        >>> student, teacher = torch.tensor([[[[3.0, 3.0], [4.0, 4.0]]]]), torch.ones(1, 1, 2, 2)
        >>> cat_loss(student, teacher, size=1, normalize=False)  # (3.5 - 1)^2
        tensor(6.2500)
    """
    check_whole("size", size, 1)
    m_s, m_t = feature_pair(student_maps, teacher_maps)
    if m_s.shape[1] != m_t.shape[1]:
        raise ValueError(
            "student_maps and teacher_maps must have one map per class each, found "
            f"{m_s.shape[1]} and {m_t.shape[1]} in shapes {tuple(m_s.shape)} and {tuple(m_t.shape)}; "
            "class_activation_maps makes them of a last feature map and the weight of its linear head"
        )
    smallest = min(*m_s.shape[2:], *m_t.shape[2:])
    if size > smallest:
        raise ValueError(
            f"size must be at most {smallest}, the smallest side of the maps {tuple(m_s.shape)} and "
            f"{tuple(m_t.shape)}, found {size}"
        )
    p_s, p_t = average_pool(m_s, (size, size)), average_pool(m_t, (size, size))
    if normalize:
        p_s, p_t = (unit_rows(p.flatten(0, 1).flatten(1), floor=LENGTH_FLOOR) for p in (p_s, p_t))
    return F.mse_loss(p_s, p_t)


class CATLoss(LossModule):
    """Module form of :func:`cat_loss`."""

    def __init__(self, *, size: int = 2, normalize: bool = True) -> None:
        super().__init__(size=size, normalize=normalize)
        check_whole("size", size, 1)

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the loss of class maps (B, C, H, W) against class maps (B, C, H', W')."""
        return cat_loss(student, teacher, **self.hyperparameters)
