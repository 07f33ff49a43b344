"""Tell what is wrong with a config before anything is trained."""

from .checking import Report, check_config
from .findings import Finding

__all__ = ["Finding", "Report", "check_config"]
