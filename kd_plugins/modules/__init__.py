"""Parts that run with the student: they learn or remember, and exist in training only unless they say otherwise."""

from .temperature import GlobalTemperature, InstanceTemperature, scale_gradient

__all__ = ["GlobalTemperature", "InstanceTemperature", "scale_gradient"]
