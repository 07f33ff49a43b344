"""Distillation losses: pure functions from tensors to a scalar, each with a module twin.

The losses detach the teacher's side and compute in float32 or higher. They hold no parameters and no state.
"""

from .aekd import AEKDLoss, aekd_loss
from .aekd_f import AEKDFeatureLoss, aekd_feature_loss
from .at import AttentionTransferLoss, attention_transfer_loss
from .average_ensemble import AverageEnsembleLoss, average_ensemble_loss
from .cat import CATLoss, cat_loss
from .cc import CorrelationLoss, correlation_loss
from .ckd import CKDLoss, ckd_loss
from .ctkd import CTKDLoss, ctkd_loss
from .dkd import DKDLoss, dkd_loss
from .fitnet import HintLoss, hint_loss
from .kd import SoftTargetLoss, soft_target_loss
from .lakd import LAKDLoss, lakd_loss, local_feature_loss
from .letkd import LetKDLoss, kd_layer_loss, soft_assignment, soft_assignment_loss
from .letkd_subclasses import subclass_loss, subclass_targets
from .lskd import LSKDLoss, lskd_loss
from .mgd import MGDLoss, mgd_loss
from .mlkd import MLKDLoss, mlkd_loss, mlkd_terms
from .nkd import NKDLoss, nkd_loss
from .pkt import ProbabilisticLoss, probabilistic_loss
from .pyramid import PyramidLoss, pyramid_loss
from .rkd import RelationalLoss, relational_loss
from .sfkd import SFKDLoss, sfkd_loss
from .sfkd_features import SFKDAttentionLoss, SFKDHintLoss, sfkd_attention_loss, sfkd_hint_loss
from .simkd import SimKDLoss, simkd_loss
from .sp import SimilarityLoss, similarity_loss
from .supcon import SupConLoss, supcon_loss

__all__ = [
    "AEKDFeatureLoss",
    "AEKDLoss",
    "AttentionTransferLoss",
    "AverageEnsembleLoss",
    "CATLoss",
    "CKDLoss",
    "CTKDLoss",
    "CorrelationLoss",
    "DKDLoss",
    "HintLoss",
    "LAKDLoss",
    "LSKDLoss",
    "LetKDLoss",
    "MGDLoss",
    "MLKDLoss",
    "NKDLoss",
    "ProbabilisticLoss",
    "PyramidLoss",
    "RelationalLoss",
    "SFKDAttentionLoss",
    "SFKDHintLoss",
    "SFKDLoss",
    "SimKDLoss",
    "SimilarityLoss",
    "SoftTargetLoss",
    "SupConLoss",
    "aekd_feature_loss",
    "aekd_loss",
    "attention_transfer_loss",
    "average_ensemble_loss",
    "cat_loss",
    "ckd_loss",
    "correlation_loss",
    "ctkd_loss",
    "dkd_loss",
    "hint_loss",
    "kd_layer_loss",
    "lakd_loss",
    "local_feature_loss",
    "lskd_loss",
    "mgd_loss",
    "mlkd_loss",
    "mlkd_terms",
    "nkd_loss",
    "probabilistic_loss",
    "pyramid_loss",
    "relational_loss",
    "sfkd_attention_loss",
    "sfkd_hint_loss",
    "sfkd_loss",
    "similarity_loss",
    "simkd_loss",
    "soft_assignment",
    "soft_assignment_loss",
    "soft_target_loss",
    "subclass_loss",
    "subclass_targets",
    "supcon_loss",
]
