"""Changes to tensors before a loss sees them: tensors in, tensors out, no parameters."""

from .attention import activation_map, attention_map, class_activation_maps
from .feature_map import match_size, to_feature_map
from .salient import keep_salient, salient_mask
from .standardize import standardize

__all__ = [
    "activation_map",
    "attention_map",
    "class_activation_maps",
    "keep_salient",
    "match_size",
    "salient_mask",
    "standardize",
    "to_feature_map",
]
