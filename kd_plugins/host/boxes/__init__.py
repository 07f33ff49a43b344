"""Hooks into torchdistill's distillation boxes during training."""
