"""Distillation losses: pure functions from tensors to a scalar, each with a module twin.

The teacher's side is detached inside, half precision is widened, and no loss holds parameters or state.
"""

from .adaptive_ensemble import AEKDLoss, aekd_loss
from .adaptive_hints import AEKDFeatureLoss, aekd_feature_loss
from .attention_transfer import AttentionTransferLoss, attention_transfer_loss
from .average_ensemble import AverageEnsembleLoss, average_ensemble_loss
from .class_attention import CATLoss, cat_loss
from .contrastive import CKDLoss, ckd_loss
from .correlation import CorrelationLoss, correlation_loss
from .decoupled import DKDLoss, dkd_loss
from .hint import HintLoss, hint_loss
from .kd_layer import LetKDLoss, kd_layer_loss, soft_assignment, soft_assignment_loss
from .learned_temperature import CTKDLoss, ctkd_loss
from .local_attention import LAKDLoss, lakd_loss, local_feature_loss
from .logit_standardization import LSKDLoss, lskd_loss
from .multi_level import MLKDLoss, mlkd_loss, mlkd_terms
from .probabilistic import ProbabilisticLoss, probabilistic_loss
from .projected_feature import SimKDLoss, simkd_loss
from .relational import RelationalLoss, relational_loss
from .salient_features import SFKDAttentionLoss, SFKDHintLoss, sfkd_attention_loss, sfkd_hint_loss
from .salient_targets import SFKDLoss, sfkd_loss
from .similarity import SimilarityLoss, similarity_loss
from .soft_target import SoftTargetLoss, soft_target_loss
from .subclass_targets import subclass_loss, subclass_targets

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
    "MLKDLoss",
    "ProbabilisticLoss",
    "RelationalLoss",
    "SFKDAttentionLoss",
    "SFKDHintLoss",
    "SFKDLoss",
    "SimKDLoss",
    "SimilarityLoss",
    "SoftTargetLoss",
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
    "mlkd_loss",
    "mlkd_terms",
    "probabilistic_loss",
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
]
