"""Find mistakes in a config before training."""

from .checking import Report, before_training, check_config
from .findings import Finding

__all__ = ["Finding", "Report", "before_training", "check_config"]
