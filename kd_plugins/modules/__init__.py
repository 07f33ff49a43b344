"""Modules that run with the student. They hold parameters or state, and most are used only in training."""

from .kd_layer.layer import KDLayer
from .local_learning import LocalLearning
from .masked_generator import MaskedGenerator
from .projector import FeatureProjector
from .regressor import FeatureRegressor
from .temperature import GlobalTemperature, InstanceTemperature, scale_gradient
from .vector_projection import VectorProjection

__all__ = [
    "FeatureProjector",
    "FeatureRegressor",
    "GlobalTemperature",
    "InstanceTemperature",
    "KDLayer",
    "LocalLearning",
    "MaskedGenerator",
    "VectorProjection",
    "scale_gradient",
]
