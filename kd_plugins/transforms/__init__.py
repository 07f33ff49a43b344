"""Changes to tensors before a loss sees them: tensors in, tensors out, no parameters."""

from .feature_map import match_size, to_feature_map
from .standardize import standardize

__all__ = ["match_size", "standardize", "to_feature_map"]
