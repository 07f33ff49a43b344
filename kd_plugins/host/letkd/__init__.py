"""letKD's loss and student for configs, and the fit of their statistics."""
