"""Train and evaluate from a torchdistill config, on torchdistill's boxes."""
