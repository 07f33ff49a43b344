"""Attention maps: one map (B, H, W) per sample, or one per class."""

from __future__ import annotations

import torch
from torch import Tensor

from .._checks import check_at_least, check_finite
from .map_rows import map_rows, rows_map
from .precision import full_matmul, widen

_ROUNDING = 16
"""Rounding error of a sum over channels, in units in the last place: a map that varies no more is constant."""


def attention_map(features: Tensor, *, power: float = 2) -> Tensor:
    r"""Return the strength of the activation at every position.

    .. math:: \phi(A)_{hw} = \frac1c \sum_k |A_{khw}|^p

    - :math:`A`: a sample's activation, c channels at H x W positions,
    - :math:`p`: power; the larger it is, the more the strongest channels count.

    The paper sums over the channels; public code, followed here, takes their mean.

    Args:
        features: shape (B, c, H, W).
        power: p, at least 1.

    Returns:
        Shape (B, H, W), float32 at least.

    Raises:
        ValueError: on another shape or power.

    References:
        Zagoruyko, Komodakis, Paying More Attention to Attention, ICLR 2017, Section 3.1.

    Example:
        >>> attention_map(torch.tensor([[[[1.0, 2.0]], [[3.0, 0.0]]]]))  # (1 + 9) / 2 and (4 + 0) / 2
        tensor([[[5., 2.]]])
    """
    check_at_least("power", power, 1)
    x = _checked(features)
    powers = x * x if power == 2 else x.abs() if power == 1 else x.abs().pow(power)
    # The backward passes of mean and square would each make one more tensor of the features' size.
    return powers.sum(1) / x.shape[1]


def activation_map(
    features: Tensor, *, mean_weight: float = 0.25, max_weight: float = 0.75, absolute: bool = True
) -> Tensor:
    r"""Return the activity of every position, from 0 for a sample's least active one to 1 for its most active (NDAM).

    .. math::
        A_{hw} = a \operatorname*{mean}_k g(F_{khw}) + b \max_k g(F_{khw}), \qquad
        \hat A_{hw} = \frac{A_{hw} - \min A}{\max A - \min A}

    - :math:`F`: a sample's feature map, c channels at H x W positions,
    - :math:`g`: the absolute value, or the identity,
    - :math:`a, b`: weights of the mean and of the largest channel.

    The public pages omit the equation; this one follows from what Table 5 varies. A map that is constant up to
    rounding, such as with a = b = 0, gives zeros.

    Args:
        features: shape (B, c, H, W), usually the teacher's.
        mean_weight: a.
        max_weight: b.
        absolute: whether g is the absolute value.

    Returns:
        Shape (B, H, W), float32 at least.

    Raises:
        ValueError: on another shape, or a weight that is not finite.

    References:
        Zhang et al., LAKD: Activation Mapping Distillation Based on Local Learning, 2024, Table 5.

    Example:
        >>> activation_map(torch.tensor([[[[1.0, -4.0, 0.0]], [[3.0, 0.0, 0.0]]]]))  # 2.75 and 3.5 and 0
        tensor([[[0.7857, 1.0000, 0.0000]]])
    """
    check_finite("mean_weight", mean_weight)
    check_finite("max_weight", max_weight)
    x = _checked(features)
    x = x.abs() if absolute else x
    activity = mean_weight * x.mean(1) + max_weight * x.amax(1)
    low, high = activity.amin((1, 2), keepdim=True), activity.amax((1, 2), keepdim=True)
    spread = high - low
    constant = spread <= _ROUNDING * torch.finfo(x.dtype).eps * torch.maximum(low.abs(), high.abs())
    return (activity - low) / spread.masked_fill(constant, torch.inf)


def class_activation_maps(features: Tensor, head_weight: Tensor) -> Tensor:
    r"""Return the contribution of every position of the last feature map to every class.

    .. math:: M_{jhw} = \sum_k W_{jk} F_{khw}

    - :math:`F`: a sample's last feature map, c channels at H x W positions,
    - :math:`W`: weight of the linear classifier that reads the map's average.

    Their average over positions is the logit without the head's bias. It is cheaper to pool the features than the maps.

    Args:
        features: shape (B, c, H, W).
        head_weight: shape (C, c).

    Returns:
        Shape (B, C, H, W), float32 at least; both arguments receive a gradient.

    Raises:
        ValueError: on another shape, or numbers of channels that differ.

    References:
        Guo et al., Class Attention Transfer Based Knowledge Distillation (CAT-KD), CVPR 2023, Section 3.2.

    Example:
        >>> features = torch.tensor([[[[1.0, 2.0]], [[3.0, 0.0]]]])
        >>> class_activation_maps(features, torch.tensor([[1.0, -1.0]]))
        tensor([[[[-2.,  2.]]]])
    """
    x = _checked(features)
    if not isinstance(head_weight, Tensor) or head_weight.ndim != 2 or head_weight.shape[1] != x.shape[1]:
        found = tuple(head_weight.shape) if isinstance(head_weight, Tensor) else type(head_weight).__name__
        raise ValueError(
            f"head_weight must have shape (C, {x.shape[1]}), one column per channel of features {tuple(x.shape)}, "
            f"found {found}; the head must be linear and read the average of this map"
        )
    weight = widen(head_weight).to(x.dtype)
    return rows_map(full_matmul(map_rows(x), weight.T), x.shape)


def _checked(features: Tensor) -> Tensor:
    if not isinstance(features, Tensor) or features.ndim != 4 or not features.numel():
        found = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise ValueError(
            f"features must be a map of shape (B, c, H, W), found {found}; convert tokens and channels-last features "
            "with to_feature_map"
        )
    if not features.is_floating_point():
        raise ValueError(f"features must hold floating-point numbers, found {features.dtype}")
    return widen(features)
