"""Distillation losses: pure functions from tensors to a scalar, each with a module twin.

The teacher's side is detached inside, half precision is widened, and no loss holds parameters or state.
"""

from .contrastive import CKDLoss, ckd_loss
from .logit_standardization import LSKDLoss, lskd_loss
from .soft_target import SoftTargetLoss, soft_target_loss

__all__ = ["CKDLoss", "LSKDLoss", "SoftTargetLoss", "ckd_loss", "lskd_loss", "soft_target_loss"]
