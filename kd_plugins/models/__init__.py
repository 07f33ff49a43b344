"""Student and teacher models: the CIFAR networks, every timm model by name, checkpoint loading and freezing."""

from .checkpoint import load_checkpoint
from .cifar import CIFAR_MODELS
from .detector import timm_detector
from .frozen import freeze, is_frozen
from .letkd import add_kd_layers, first_block
from .points.names import declare_feature_points, feature_point, feature_points, image_size
from .points.point import FeaturePoint, to_map
from .simkd import simkd_student
from .timm import PretrainedInput, input_normalization, pretrained_input, timm_model

__all__ = [
    "CIFAR_MODELS",
    "FeaturePoint",
    "PretrainedInput",
    "add_kd_layers",
    "declare_feature_points",
    "feature_point",
    "feature_points",
    "first_block",
    "freeze",
    "image_size",
    "input_normalization",
    "is_frozen",
    "load_checkpoint",
    "pretrained_input",
    "simkd_student",
    "timm_detector",
    "timm_model",
    "to_map",
]
