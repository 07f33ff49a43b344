"""Swin-Pico, half as wide as Swin-T, registered in timm."""

from __future__ import annotations

from typing import Any

import timm
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.swin_transformer import SwinTransformer
from torch import nn

NAME = "swin_pico_patch4_window7_224"

# timm looks up this table in the module of the registered function.
_INPUT = {
    "num_classes": 1000, "input_size": (3, 224, 224), "pool_size": (7, 7), "crop_pct": 0.9, "interpolation": "bicubic",
    "fixed_input_size": True, "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225),
    "first_conv": "patch_embed.proj", "classifier": "head.fc",
}  # fmt: skip
default_cfgs = generate_default_cfgs({NAME: _INPUT})


def swin_pico_patch4_window7_224(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Swin with stages of 48, 96, 192 and 384 channels for images of 224 pixels; there are no pretrained weights.

    References:
        Hao et al., One-for-All: Bridge the Gap Between Heterogeneous Architectures in Knowledge Distillation,
        NeurIPS 2023, table 1; the authors' code has these settings.
    """
    settings = {
        "patch_size": 4, "window_size": 7, "embed_dim": 48, "depths": (2, 2, 6, 2), "num_heads": (3, 6, 12, 24),
        **kwargs,
    }  # fmt: skip
    out_indices = settings.pop("out_indices", tuple(range(len(settings["depths"]))))
    features = {"flatten_sequential": True, "out_indices": out_indices}
    return build_model_with_cfg(SwinTransformer, NAME, pretrained, feature_cfg=features, **settings)


def register() -> None:
    """Register Swin-Pico in timm, unless the name is taken."""
    if not timm.is_model(NAME):
        register_model(swin_pico_patch4_window7_224)
