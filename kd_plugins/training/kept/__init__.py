"""Files of weights that a training leaves beside its checkpoints."""
