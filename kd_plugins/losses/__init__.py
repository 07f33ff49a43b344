"""Distillation losses: pure functions from tensors to a scalar, each with a module twin.

The teacher's side is detached inside, half precision is widened, and no loss holds parameters or state.
"""

from .contrastive import CKDLoss, ckd_loss
from .decoupled import DKDLoss, dkd_loss
from .learned_temperature import CTKDLoss, ctkd_loss
from .logit_standardization import LSKDLoss, lskd_loss
from .multi_level import MLKDLoss, mlkd_loss, mlkd_terms
from .salient_targets import SFKDLoss, sfkd_loss
from .soft_target import SoftTargetLoss, soft_target_loss

__all__ = [
    "CKDLoss",
    "CTKDLoss",
    "DKDLoss",
    "LSKDLoss",
    "MLKDLoss",
    "SFKDLoss",
    "SoftTargetLoss",
    "ckd_loss",
    "ctkd_loss",
    "dkd_loss",
    "lskd_loss",
    "mlkd_loss",
    "mlkd_terms",
    "sfkd_loss",
    "soft_target_loss",
]
