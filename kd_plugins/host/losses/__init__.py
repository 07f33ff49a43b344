"""Mid-level losses for torchdistill's configs, and the transforms in front of them."""
