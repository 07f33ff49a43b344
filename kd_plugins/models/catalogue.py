"""Sizes of the CIFAR networks, and the sources of matching checkpoints."""

from __future__ import annotations

import torch

from .cifar import CIFAR_MODELS

SHARED_TEACHERS = frozenset(
    {
        "cifar_resnet56",
        "cifar_resnet110",
        "cifar_resnet32x4",
        "cifar_resnet50",
        "cifar_wrn_40_2",
        "cifar_vgg13",
    }
)
"""Networks whose CIFAR-100 weights RepDistiller and mdistiller share as teachers."""


def parameter_count(key: str, *, num_classes: int = 100) -> int:
    """Return the number of parameters of a CIFAR network, built on the meta device.

    Example:
        >>> parameter_count("cifar_resnet20")
        278324
    """
    with torch.device("meta"):
        model = CIFAR_MODELS[key](num_classes=num_classes)
    return sum(parameter.numel() for parameter in model.parameters())


def model_note(key: str) -> str:
    """Return a model's size and the source of checkpoints, for listings; empty for a builder of many models.

    Example:
        >>> model_note("cifar_vgg13")
        '9,462,180 parameters; CIFAR-100 weights: RepDistiller, mdistiller'
    """
    if key not in CIFAR_MODELS:
        return ""
    weights = "CIFAR-100 weights" if key in SHARED_TEACHERS else "parameter names"
    return f"{parameter_count(key):,} parameters; {weights}: RepDistiller, mdistiller"
