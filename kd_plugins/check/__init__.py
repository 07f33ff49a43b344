"""Find mistakes in a config before training."""

from .before_training import before_training
from .checking import Report, check_config
from .findings import Finding

__all__ = ["Finding", "Report", "before_training", "check_config"]
