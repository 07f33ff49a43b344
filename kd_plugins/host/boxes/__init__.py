"""What a distillation box of torchdistill is told while it trains."""
